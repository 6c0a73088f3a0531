// Paths that follow edges from one point of an image to others (intelligent scissors, Mortensen and
// Barrett 1995, doi:10.1145/218380.218442): the cheapest ways, where strong edges are cheap.

import { paint } from './picture.js';

const HALF = 256; // cells on each side of the point
const EDGE = 24; // a step of so many grey values is half as cheap as can be
const DEAREST = 64; // the cost of a cell without any edge
const DIAGONAL = Math.SQRT2;

export class Scissors {
  /**
   * Finds the cheapest ways from a point to all around it.
   * @param {ImageBitmap | import('./picture.js').TiledPicture} bitmap the image
   * @param {[number, number]} from a point of it
   * @param {number} step the side of a cell, in pixels: more than 1 where the image is seen small
   */
  constructor(bitmap, [x, y], step) {
    this.step = step;
    const column = Math.floor(x / step), row = Math.floor(y / step);
    this.left = Math.max(0, column - HALF);
    this.top = Math.max(0, row - HALF);
    this.width = Math.min(Math.ceil(bitmap.width / step), column + HALF) - this.left;
    this.height = Math.min(Math.ceil(bitmap.height / step), row + HALF) - this.top;
    this.start = (row - this.top) * this.width + column - this.left;
    this.#search(edgeCosts(this.#pixels(bitmap), this.width, this.height));
  }

  /** The points of the way to a point of the image, which is the last of them. */
  to([x, y]) {
    const column = Math.floor(x / this.step) - this.left,
      row = Math.floor(y / this.step) - this.top,
      isNear = column >= 0 && row >= 0 && column < this.width && row < this.height,
      points = [[x, y]];
    if (!isNear) return points;
    let at = this.from[row * this.width + column];
    while (at >= 0 && at !== this.start) {
      points.push([
        (this.left + at % this.width + 0.5) * this.step,
        (this.top + Math.floor(at / this.width) + 0.5) * this.step,
      ]);
      at = this.from[at];
    }
    return points.reverse();
  }

  #pixels(bitmap) {
    const { step, width, height } = this;
    const context = new OffscreenCanvas(width, height).getContext('2d', {
      willReadFrequently: true,
    });
    const left = this.left * step, top = this.top * step;
    const part = { left, top, right: left + width * step, bottom: top + height * step };
    paint(bitmap, context, part, 0, 0, 1 / step);
    return context.getImageData(0, 0, width, height).data;
  }

  /** Dijkstra's search, with a bucket for each cost. */
  #search(costs) {
    const { width, height } = this, count = width * height;
    this.from = new Int32Array(count).fill(-1);
    const least = new Float32Array(count).fill(Infinity), done = new Uint8Array(count);
    const buckets = [[this.start]];
    least[this.start] = 0;
    for (let cost = 0; cost < buckets.length; cost++) {
      for (const cell of buckets[cost] ?? []) {
        if (done[cell]) continue;
        done[cell] = 1;
        const column = cell % width, row = Math.floor(cell / width);
        for (let j = Math.max(0, row - 1); j <= Math.min(height - 1, row + 1); j++) {
          for (let i = Math.max(0, column - 1); i <= Math.min(width - 1, column + 1); i++) {
            const next = j * width + i;
            if (done[next]) continue;
            const length = i !== column && j !== row ? DIAGONAL : 1;
            const total = least[cell] + costs[next] * length;
            if (total >= least[next]) continue;
            least[next] = total;
            this.from[next] = cell;
            (buckets[Math.floor(total)] ??= []).push(next);
          }
        }
      }
      // What was searched needs no memory
      buckets[cost] = undefined;
    }
  }
}

/** What it costs to go over each cell: from 1 on a strong edge to `DEAREST` where all is alike. */
function edgeCosts(pixels, width, height) {
  const costs = new Float32Array(width * height);
  for (let j = 0; j < height; j++) {
    const above = Math.max(0, j - 1) * width, below = Math.min(height - 1, j + 1) * width;
    for (let i = 0; i < width; i++) {
      const before = Math.max(0, i - 1), after = Math.min(width - 1, i + 1);
      let strength = 0;
      for (let k = 0; k < 3; k++) {
        const dx = pixels[4 * (j * width + after) + k] - pixels[4 * (j * width + before) + k],
          dy = pixels[4 * (below + i) + k] - pixels[4 * (above + i) + k];
        strength = Math.max(strength, Math.hypot(dx, dy) / 2);
      }
      costs[j * width + i] = 1 + (DEAREST - 1) / (1 + (strength / EDGE) ** 2);
    }
  }
  return costs;
}
