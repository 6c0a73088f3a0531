// Pictures: an image that the browser holds whole, or a larger one in tiles that come when they are
// seen, each at the half of the size of four others.

const TILE = 512;
const MOST_TILES = 160;
const AT_ONCE = 2; // the server has few cores, and the first tile is to come soon

/**
 * Paints a part of a picture; false where some of it is not there yet.
 * @param {ImageBitmap | TiledPicture} picture
 * @param {object} context of a canvas
 * @param {object} part left, top, right and bottom, in pixels of the image
 * @param {number} x where its left edge goes on the canvas
 * @param {number} y where its upper edge goes
 * @param {number} scale pixels of the canvas for each of the image
 */
export function paint(picture, context, part, x, y, scale) {
  if (picture instanceof TiledPicture) return picture.paint(context, part, x, y, scale);
  const width = part.right - part.left, height = part.bottom - part.top;
  const onto = [x, y, width * scale, height * scale];
  context.drawImage(picture, part.left, part.top, width, height, ...onto);
  return true;
}

export class TiledPicture {
  /**
   * @param {number} width of the image
   * @param {number} height
   * @param {(level: number, row: number, column: number) => Promise<ImageBitmap>} load
   * @param {() => void} came is called when a tile has come
   */
  constructor(width, height, load, came) {
    Object.assign(this, { width, height, load, came });
    this.levels = Math.max(0, Math.ceil(Math.log2(Math.max(width, height) / TILE)));
    this.tiles = new Map();
    // What is asked for, the last first
    this.wanted = [];
    this.running = new Set();
    this.failed = new Set();
    this.closed = false;
    /** The promise that all that was seen first has come. */
    this.ready = new Promise((resolve) => {
      this.finish = resolve;
    });
  }

  close() {
    this.closed = true;
    this.wanted = [];
    for (const tile of this.tiles.values()) tile.close();
    this.tiles.clear();
  }

  paint(context, part, x, y, scale) {
    const finest = Math.floor(Math.log2(1 / scale));
    const level = Math.min(this.levels, Math.max(0, finest)), side = TILE * 2 ** level;
    this.wanted = [];
    let whole = true;
    for (let row = Math.floor(part.top / side); row * side < part.bottom; row++) {
      for (let column = Math.floor(part.left / side); column * side < part.right; column++) {
        whole = this.#paintTile(context, part, [x, y, scale], level, row, column) && whole;
      }
    }
    this.#ask();
    return whole;
  }

  /** Paints what a tile shows of a part, or what a coarser one does until it has come. */
  #paintTile(context, part, [x, y, scale], level, row, column) {
    const side = TILE * 2 ** level;
    const left = Math.max(part.left, column * side),
      top = Math.max(part.top, row * side),
      right = Math.min(part.right, (column + 1) * side, this.width),
      bottom = Math.min(part.bottom, (row + 1) * side, this.height);
    if (right <= left || bottom <= top) return true;
    const key = `${level}/${row}/${column}`, isThere = this.tiles.has(key);
    if (!isThere && !this.failed.has(key)) this.wanted.push(key);
    for (let up = 0; level + up <= this.levels; up++) {
      const parent = `${level + up}/${row >> up}/${column >> up}`, tile = this.tiles.get(parent);
      if (!tile) continue;
      this.tiles.delete(parent);
      this.tiles.set(parent, tile);
      const step = 2 ** (level + up),
        parentLeft = (column >> up) * TILE * step,
        parentTop = (row >> up) * TILE * step;
      context.drawImage(
        tile,
        (left - parentLeft) / step,
        (top - parentTop) / step,
        (right - left) / step,
        (bottom - top) / step,
        x + (left - part.left) * scale,
        y + (top - part.top) * scale,
        (right - left) * scale,
        (bottom - top) * scale,
      );
      break;
    }
    return isThere;
  }

  /** Asks for what is wanted, some at a time. */
  #ask() {
    // The first has the server for itself, so that something is seen soon
    const most = this.tiles.size ? AT_ONCE : 1;
    while (this.running.size < most && this.wanted.length && !this.closed) {
      const key = this.wanted.shift();
      if (this.running.has(key) || this.tiles.has(key)) continue;
      this.running.add(key);
      this.load(...key.split('/').map(Number))
        .then((tile) => this.#keep(key, tile), () => this.failed.add(key))
        .finally(() => {
          this.running.delete(key);
          if (!this.running.size && !this.wanted.length) this.finish();
          if (!this.closed) this.came();
          this.#ask();
        });
    }
  }

  #keep(key, tile) {
    if (this.closed) {
      tile.close();
      return;
    }
    this.tiles.set(key, tile);
    if (this.tiles.size > MOST_TILES) {
      const [oldest] = this.tiles.keys();
      this.tiles.get(oldest).close();
      this.tiles.delete(oldest);
    }
  }
}
