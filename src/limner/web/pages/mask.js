// A mask as an array of class indices, never a canvas: painted by exact rules, and undone by tiles.

import { decodeRuns, encodeRuns } from './runs.js';

export const TILE = 512;
const MOST_STEPS = 1000, MOST_BYTES = 32 * 2 ** 20; // that can be undone
const FEWEST_STEPS = 200; // that can be undone, however many bytes they take

/** A rectangle of pixels: left and top are in it, right and bottom are not. */
export const rect = (left, top, right, bottom) => ({ left, top, right, bottom });
export const union = (a, b) =>
  !a ? b : !b ? a : rect(
    Math.min(a.left, b.left),
    Math.min(a.top, b.top),
    Math.max(a.right, b.right),
    Math.max(a.bottom, b.bottom),
  );

export class Mask {
  /**
   * @param {number} width
   * @param {number} height
   * @param {Uint8Array} data class indices, row by row
   */
  constructor(width, height, data) {
    if (data.length !== width * height) {
      throw new Error(`a mask of ${width}x${height} px has ${data.length} pixels`);
    }
    this.width = width;
    this.height = height;
    this.data = data;
    this.across = Math.ceil(width / TILE);
    this.down = Math.ceil(height / TILE);
    this.past = [];
    this.future = [];
    this.bytes = 0;
    // What the tiles were that the stroke in progress touched
    this.before = null;
    // For each class whether a stroke may change it; null where it may change all
    this.open = null;
  }

  /** Where a tile lies. */
  tile(index) {
    const left = index % this.across * TILE, top = Math.floor(index / this.across) * TILE;
    return rect(left, top, Math.min(left + TILE, this.width), Math.min(top + TILE, this.height));
  }

  /** A copy of a tile's pixels. */
  read(index) {
    const { left, top, right, bottom } = this.tile(index),
      width = right - left,
      pixels = new Uint8Array(width * (bottom - top));
    for (let y = top; y < bottom; y++) {
      pixels.set(
        this.data.subarray(y * this.width + left, y * this.width + right),
        (y - top) * width,
      );
    }
    return pixels;
  }

  /** A tile without what the stroke in progress did to it. */
  finished(index) {
    return this.before?.get(index) ?? this.read(index);
  }

  write(index, pixels) {
    const { left, top, right, bottom } = this.tile(index), width = right - left;
    for (let y = top; y < bottom; y++) {
      this.data.set(
        pixels.subarray((y - top) * width, (y - top + 1) * width),
        y * this.width + left,
      );
    }
  }

  begin() {
    this.before = new Map();
  }

  /** Ends a stroke: the tiles that it changed. They can be undone. */
  end() {
    const step = [];
    for (const [index, before] of this.before ?? []) {
      const after = this.read(index);
      if (!equal(before, after)) {
        step.push({ index, before: encodeRuns(before), after: encodeRuns(after) });
      }
    }
    this.before = null;
    if (step.length) {
      this.past.push(step);
      this.future = [];
      this.bytes += bytesOf(step);
      while (
        this.past.length > MOST_STEPS ||
        (this.bytes > MOST_BYTES && this.past.length > FEWEST_STEPS)
      ) {
        this.bytes -= bytesOf(this.past.shift());
      }
    }
    return step.map((part) => part.index);
  }

  /** Takes back what the stroke in progress did; the rectangle that changed. */
  cancel() {
    let changed = null;
    for (const [index, before] of this.before ?? []) {
      this.write(index, before);
      changed = union(changed, this.tile(index));
    }
    this.before = null;
    return changed;
  }

  undo() {
    return this.#replay(this.past, this.future, 'before');
  }
  redo() {
    return this.#replay(this.future, this.past, 'after');
  }

  #replay(from, to, side) {
    const step = from.pop();
    if (!step) return null;
    for (const part of step) {
      this.write(part.index, decodeRuns(part[side], this.read(part.index).length));
    }
    to.push(step);
    return step.map((part) => part.index);
  }

  /** Gives the pixels left..right of a row a class, within the mask and what is open. */
  span(y, left, right, value) {
    if (y < 0 || y >= this.height || right <= 0 || left >= this.width || right <= left) return;
    left = Math.max(0, left);
    right = Math.min(this.width, right);
    const row = Math.floor(y / TILE) * this.across;
    for (let column = Math.floor(left / TILE); column <= Math.floor((right - 1) / TILE); column++) {
      if (!this.before.has(row + column)) this.before.set(row + column, this.read(row + column));
    }
    const start = y * this.width + left, stop = y * this.width + right;
    if (!this.open) this.data.fill(value, start, stop);
    else {
      const { data, open } = this;
      for (let at = start; at < stop; at++) if (open[data[at]]) data[at] = value;
    }
  }

  /**
   * A stroke from one point to another with a round brush: pixels whose centre lies within the
   * radius of the line.
   */
  line(x0, y0, x1, y1, radius, value) {
    // Any point has a pixel's centre within 0.71
    const r = Math.max(0.75, radius), length = Math.hypot(x1 - x0, y1 - y0);
    const nx = length ? (y0 - y1) / length * r : 0, ny = length ? (x1 - x0) / length * r : 0;
    const sides = length
      ? [[x0 + nx, y0 + ny, x1 + nx, y1 + ny], [x0 - nx, y0 - ny, x1 - nx, y1 - ny]]
      : [];
    const top = Math.max(0, Math.floor(Math.min(y0, y1) - r)),
      bottom = Math.min(this.height, Math.ceil(Math.max(y0, y1) + r));
    for (let y = top; y < bottom; y++) {
      const centre = y + 0.5;
      let from = Infinity, to = -Infinity;
      for (const [x, py] of [[x0, y0], [x1, y1]]) {
        const left = r * r - (centre - py) ** 2;
        if (left >= 0) {
          from = Math.min(from, x - Math.sqrt(left));
          to = Math.max(to, x + Math.sqrt(left));
        }
      }
      for (const [ax, ay, bx, by] of sides) {
        if (ay === by || centre < Math.min(ay, by) || centre > Math.max(ay, by)) continue;
        const x = ax + (centre - ay) / (by - ay) * (bx - ax);
        from = Math.min(from, x);
        to = Math.max(to, x);
      }
      if (from <= to) this.span(y, Math.ceil(from - 0.5), Math.floor(to - 0.5) + 1, value);
    }
    return this.#within(
      rect(Math.floor(Math.min(x0, x1) - r), top, Math.ceil(Math.max(x0, x1) + r) + 1, bottom),
    );
  }

  /** The inside of a polygon, by the even-odd rule at the pixels' centres. */
  polygon(points, value) {
    const ys = points.map(([, y]) => y), xs = points.map(([x]) => x);
    const top = Math.max(0, Math.floor(Math.min(...ys))),
      bottom = Math.min(this.height, Math.ceil(Math.max(...ys)));
    for (let y = top; y < bottom; y++) {
      const centre = y + 0.5, cuts = [];
      points.forEach(([ax, ay], i) => {
        const [bx, by] = points[(i + 1) % points.length];
        if ((ay <= centre) !== (by <= centre)) {
          cuts.push(ax + (centre - ay) / (by - ay) * (bx - ax));
        }
      });
      cuts.sort((a, b) => a - b);
      for (let i = 0; i + 1 < cuts.length; i += 2) {
        this.span(y, Math.ceil(cuts[i] - 0.5), Math.ceil(cuts[i + 1] - 0.5), value);
      }
    }
    return this.#within(rect(Math.floor(Math.min(...xs)), top, Math.ceil(Math.max(...xs)), bottom));
  }

  /** Gives a class the background, or whatever `empty` is, that it encloses. */
  fillHoles(value, empty = 0) {
    const box = this.#bounds(value);
    if (!box) return null;
    // With a free rim around
    const width = box.right - box.left + 2, height = box.bottom - box.top + 2;
    const at = (x, y) =>
      x < 1 || y < 1 || x > width - 2 || y > height - 2 ||
      this.data[(box.top + y - 1) * this.width + box.left + x - 1] !== value;
    const outside = flood(width, height, 0, 0, at);
    for (let y = 1; y < height - 1; y++) {
      for (let x = 1; x < width - 1; x++) {
        const start = x,
          hole = () =>
            x < width - 1 && !outside[y * width + x] &&
            this.data[(box.top + y - 1) * this.width + box.left + x - 1] === empty;
        while (hole()) x++;
        if (x > start) this.span(box.top + y - 1, box.left + start - 1, box.left + x - 1, value);
      }
    }
    return box;
  }

  /** Gives a class all pixels of one class that are connected by their sides. */
  bucket(x, y, value) {
    const found = this.data[y * this.width + x];
    if (found === value) return null;
    const { data, width, height } = this;
    return this.fillFound(
      flood(width, height, x, y, (i, j) => data[j * width + i] === found),
      rect(0, 0, width, height),
      value,
    );
  }

  /** Gives every pixel the class of another mask of this size. */
  replace(data) {
    for (let y = 0; y < this.height; y++) {
      for (let x = 0; x < this.width;) {
        const start = x, value = data[y * this.width + x];
        while (x < this.width && data[y * this.width + x] === value) x++;
        this.span(y, start, x, value);
      }
    }
    return rect(0, 0, this.width, this.height);
  }

  /**
   * Grows from a pixel over its like: `pixels` (RGBA) show `area` of the image. It goes over no
   * edge, nor far from the colour that was clicked.
   */
  grow(x, y, value, pixels, area, tolerance) {
    const width = area.right - area.left,
      height = area.bottom - area.top,
      cx = x - area.left,
      cy = y - area.top;
    const seed = [0, 0, 0];
    let count = 0;
    for (let j = Math.max(0, cy - 1); j <= Math.min(height - 1, cy + 1); j++) {
      for (let i = Math.max(0, cx - 1); i <= Math.min(width - 1, cx + 1); i++, count++) {
        for (let k = 0; k < 3; k++) {
          seed[k] += pixels[(j * width + i) * 4 + k];
        }
      }
    }
    const far = (i, j) => {
      const p = (j * width + i) * 4;
      return Math.hypot(
        pixels[p] - seed[0] / count,
        pixels[p + 1] - seed[1] / count,
        pixels[p + 2] - seed[2] / count,
      );
    };
    const step = (i, j) => {
      const p = (j * width + i) * 4,
        q = i + 1 < width ? p + 4 : p,
        s = j + 1 < height ? p + width * 4 : p;
      return Math.max(
        Math.abs(pixels[p + 1] - pixels[q + 1]),
        Math.abs(pixels[p + 1] - pixels[s + 1]),
      );
    };
    const like = flood(
      width,
      height,
      cx,
      cy,
      (i, j) => far(i, j) <= tolerance && step(i, j) <= tolerance,
    );
    return this.fillFound(like, area, value);
  }

  /** Gives the pixels of an area that are found a class; the rectangle that changed. */
  fillFound(found, area, value) {
    const width = area.right - area.left, height = area.bottom - area.top;
    let changed = null;
    for (let j = 0; j < height; j++) {
      for (let i = 0; i < width; i++) {
        const start = i;
        while (i < width && found[j * width + i]) i++;
        if (i > start) {
          this.span(area.top + j, area.left + start, area.left + i, value);
          changed = union(
            changed,
            rect(area.left + start, area.top + j, area.left + i, area.top + j + 1),
          );
        }
      }
    }
    return changed;
  }

  #bounds(value) {
    let box = null;
    for (let y = 0; y < this.height; y++) {
      const row = this.data.subarray(y * this.width, (y + 1) * this.width),
        first = row.indexOf(value);
      if (first >= 0) box = union(box, rect(first, y, row.lastIndexOf(value) + 1, y + 1));
    }
    return box;
  }

  #within(box) {
    return rect(
      Math.max(0, box.left),
      Math.max(0, box.top),
      Math.min(this.width, box.right),
      Math.min(this.height, box.bottom),
    );
  }
}

/** The pixels connected to one by their sides for which `open` holds, row by row. */
export function flood(width, height, x, y, open) {
  const found = new Uint8Array(width * height), stack = [[x, y]];
  while (stack.length) {
    const [sx, sy] = stack.pop();
    if (found[sy * width + sx] || !open(sx, sy)) continue;
    let left = sx, right = sx;
    while (left > 0 && !found[sy * width + left - 1] && open(left - 1, sy)) left--;
    while (right < width - 1 && !found[sy * width + right + 1] && open(right + 1, sy)) right++;
    found.fill(1, sy * width + left, sy * width + right + 1);
    for (const ny of [sy - 1, sy + 1]) {
      if (ny < 0 || ny >= height) continue;
      for (let nx = left; nx <= right; nx++) {
        if (
          !found[ny * width + nx] &&
          (nx === left || found[ny * width + nx - 1] || !open(nx - 1, ny)) && open(nx, ny)
        ) stack.push([nx, ny]);
      }
    }
  }
  return found;
}

const equal = (a, b) => {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
};
const bytesOf = (step) =>
  step.reduce((sum, part) => sum + 4 * (part.before.length + part.after.length), 0);
