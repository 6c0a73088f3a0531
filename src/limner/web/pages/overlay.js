// The mask's tint and outlines, drawn in tiles, of which those that were seen last are kept. Where
// the image is seen small, a tile has a pixel for several of the mask: what is drawn depends on the
// screen and not on the image.

import { rect, TILE } from './mask.js';

const MOST_TILES = 96;
const OUTLINE_PX = 1.5; // of the screen
const FAR_REACH = 2; // of an outline where a pixel of a tile is several of the mask, in such
const HALO = 0.7; // opacity of the line beside an outline
const DARK = 90; // the luma of colours that have a white line beside them

/** Black beside light colours, white beside dark ones. */
export function haloOf([red, green, blue]) {
  return 0.299 * red + 0.587 * green + 0.114 * blue > DARK ? [0, 0, 0] : [255, 255, 255];
}

/** A colour as one word of an image's data. */
const word = ([red, green, blue], opacity) =>
  (red | green << 8 | blue << 16 | Math.round(opacity * 255) << 24) >>> 0;

export class Overlay {
  constructor() {
    this.tiles = new Map();
    // The side of what a pixel of a tile shows, in pixels of the mask
    this.step = 1;
    // How far an outline reaches, likewise; no outline is drawn in tiles where pixels are large
    this.reach = 1;
    this.isSharp = false;
  }

  clear() {
    this.tiles.clear();
  }

  /** The scale is another: screen pixels for each pixel of the mask. */
  scaled(scale, isSharp) {
    const step = 2 ** Math.max(0, Math.floor(Math.log2(1 / scale)));
    const reach = step > 1 ? FAR_REACH * step : Math.max(1, Math.round(OUTLINE_PX / scale));
    Object.assign(this, { step, reach, isSharp });
  }

  /** What a tile is known by. */
  #key(index) {
    return `${this.step}/${this.isSharp ? 0 : this.reach}/${index}`;
  }

  /** A part of the mask changed. */
  changed(view, part) {
    const now = this.#key('');
    for (const [key, tile] of this.tiles) {
      const isOther = !key.startsWith(now), index = +key.slice(now.length);
      // Of other scales, and those that were empty, are drawn anew when they are seen
      if (isOther || (!tile && meet(part, this.#box(view.mask, index)))) this.tiles.delete(key);
      else if (tile) this.#render(view, index, tile, part);
    }
  }

  /** Draws the tiles within a part of the screen. */
  draw(context, view, frame) {
    const { mask, scale } = view, side = TILE * this.step;
    const across = Math.ceil(mask.width / side), down = Math.ceil(mask.height / side);
    const first = (edge, origin) => Math.max(0, Math.floor((edge - origin) / scale / side));
    const last = (edge, origin, count) =>
      Math.min(count - 1, Math.floor((edge - origin) / scale / side));
    const px = (value, origin) => Math.round(origin + value * scale);
    const bottom = last(frame.bottom, view.y, down), right = last(frame.right, view.x, across);
    for (let row = first(frame.top, view.y); row <= bottom; row++) {
      for (let column = first(frame.left, view.x); column <= right; column++) {
        const index = row * across + column, box = this.#box(mask, index);
        const left = px(box.left, view.x), top = px(box.top, view.y);
        const width = px(box.right, view.x) - left, height = px(box.bottom, view.y) - top;
        const tile = width > 0 && height > 0 && this.#tile(view, index);
        if (tile) context.drawImage(tile, left, top, width, height);
      }
    }
  }

  #box(mask, index) {
    const side = TILE * this.step, across = Math.ceil(mask.width / side);
    const left = index % across * side, top = Math.floor(index / across) * side;
    return rect(left, top, Math.min(left + side, mask.width), Math.min(top + side, mask.height));
  }

  /** A tile as a canvas; null where nothing is on it. */
  #tile(view, index) {
    const key = this.#key(index), isKnown = this.tiles.has(key);
    let tile = this.tiles.get(key);
    // What was used last is at the end
    this.tiles.delete(key);
    if (!isKnown) {
      tile = this.#make(view, index);
      const [oldest] = this.tiles.keys();
      if (this.tiles.size >= MOST_TILES) this.tiles.delete(oldest);
    }
    this.tiles.set(key, tile);
    return tile;
  }

  #make(view, index) {
    const box = this.#box(view.mask, index), { step } = this;
    if (this.#isEmpty(view, box)) return null;
    const canvas = new OffscreenCanvas(
      Math.ceil((box.right - box.left) / step),
      Math.ceil((box.bottom - box.top) / step),
    );
    this.#render(view, index, canvas, box);
    return canvas;
  }

  /** Whether nothing is to be drawn of a part of the mask, by the pixels that would be. */
  #isEmpty({ mask, colours }, box) {
    const { step, reach } = this, { data, width, height } = mask;
    const isShown = new Uint8Array(256);
    colours.forEach((colour, value) => {
      isShown[value] = colour ? 1 : 0;
    });
    const left = Math.max(0, box.left - reach), right = Math.min(width, box.right + reach);
    for (
      let y = Math.max(0, box.top - reach);
      y < Math.min(height, box.bottom + reach);
      y += step
    ) {
      for (let at = y * width + left; at < y * width + right; at += step) {
        if (isShown[data[at]]) return false;
      }
    }
    return true;
  }

  /** Draws a part of a tile from the mask's classes. */
  #render(view, index, canvas, part) {
    const { step } = this, { data, width, height } = view.mask, box = this.#box(view.mask, index);
    const left = Math.floor((Math.max(box.left, part.left) - box.left) / step),
      top = Math.floor((Math.max(box.top, part.top) - box.top) / step),
      right = Math.ceil((Math.min(box.right, part.right) - box.left) / step),
      bottom = Math.ceil((Math.min(box.bottom, part.bottom) - box.top) / step);
    if (right <= left || bottom <= top) return;
    const reach = this.isSharp ? 0 : this.reach;
    const image = new ImageData(right - left, bottom - top),
      words = new Uint32Array(image.data.buffer);
    const [inner, outer, halo] = tables(view.colours, view.opacity);
    let at = 0;
    for (let j = top; j < bottom; j++) {
      const y = box.top + j * step,
        row = y * width,
        above = Math.max(0, y - reach) * width,
        below = Math.min(height - 1, y + reach) * width;
      for (let i = left; i < right; i++, at++) {
        const x = box.left + i * step, value = data[row + x];
        if (!reach) {
          words[at] = inner[value];
          continue;
        }
        const up = data[above + x],
          under = data[below + x],
          before = data[row + Math.max(0, x - reach)],
          after = data[row + Math.min(width - 1, x + reach)];
        if (!outer[value]) {
          // Beside a class there is a line of another tone, so that its outline is seen anywhere
          words[at] = halo[up] || halo[under] || halo[before] || halo[after];
        } else {
          const rim = up !== value || under !== value || before !== value || after !== value;
          words[at] = rim ? outer[value] : inner[value];
        }
      }
    }
    canvas.getContext('2d').putImageData(image, left, top);
  }
}

const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

/** The words of each class inside, on its outline and beside it. */
function tables(colours, opacity) {
  const [inner, outer, halo] = [0, 1, 2].map(() => new Uint32Array(256));
  colours.forEach((colour, value) => {
    if (!colour) return;
    inner[value] = word(colour, opacity);
    outer[value] = word(colour, 1);
    halo[value] = word(haloOf(colour), HALO);
  });
  return [inner, outer, halo];
}
