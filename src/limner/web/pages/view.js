// The view: the image on one canvas, the mask's tint and outline on another above it, of which only
// what changed is drawn again.

import { rect, TILE, union } from './mask.js';

// From so many screen pixels for a pixel of the image outlines run between pixels, not over them
const SHARP = 3;

export class View {
  constructor(stage, picture, overlay) {
    this.stage = stage;
    this.back = picture;
    this.front = overlay;
    this.scale = 1;
    // Where the image's upper left corner is, in screen pixels
    this.x = 0;
    this.y = 0;
    this.opacity = 0.35;
    this.colours = [];
    this.bitmap = null;
    this.mask = null;
    this.tiles = new Map();
    this.thickness = 1;
    this.stale = null;
    this.whole = false;
    this.waiting = false;
    // Draws what a tool shows above the mask
    this.extra = null;
    this.fitted = true;
    new ResizeObserver(() => this.resize()).observe(stage);
  }

  /** Shows another image; zoom and place stay where they were unless it was seen whole. */
  show(bitmap, mask) {
    const differs = !this.mask || this.mask.width !== mask.width ||
      this.mask.height !== mask.height;
    this.bitmap = bitmap;
    this.mask = mask;
    this.tiles.clear();
    if (this.fitted || (differs && !this.#visible())) this.fit();
    else this.moved();
  }

  /** Shows nothing. */
  clear() {
    this.bitmap = null;
    this.mask = null;
    this.tiles.clear();
    this.#background();
    this.front.getContext('2d').clearRect(0, 0, this.front.width, this.front.height);
  }

  resize() {
    const ratio = devicePixelRatio, box = this.stage.getBoundingClientRect();
    const width = Math.max(1, Math.round(box.width * ratio)),
      height = Math.max(1, Math.round(box.height * ratio));
    if (width === this.front.width && height === this.front.height) return;
    for (const canvas of [this.back, this.front]) {
      canvas.width = width;
      canvas.height = height;
    }
    if (this.fitted) this.fit();
    else this.moved();
  }

  fit() {
    if (!this.mask) return;
    this.fitted = true;
    this.scale =
      Math.min(this.front.width / this.mask.width, this.front.height / this.mask.height) * 0.98;
    this.x = (this.front.width - this.mask.width * this.scale) / 2;
    this.y = (this.front.height - this.mask.height * this.scale) / 2;
    this.moved();
  }

  /** Zoom by a factor about a point of the screen. */
  zoom(factor, sx, sy) {
    const scale = Math.min(64, Math.max(0.02, this.scale * factor)), [ix, iy] = this.at(sx, sy);
    this.scale = scale;
    this.x = sx * devicePixelRatio - ix * scale;
    this.y = sy * devicePixelRatio - iy * scale;
    this.fitted = false;
    this.moved();
  }

  pan(dx, dy) {
    this.x += dx * devicePixelRatio;
    this.y += dy * devicePixelRatio;
    this.fitted = false;
    this.moved();
  }

  /** The point of the image under one of the screen (of the stage, in CSS pixels). */
  at(sx, sy) {
    return [
      (sx * devicePixelRatio - this.x) / this.scale,
      (sy * devicePixelRatio - this.y) / this.scale,
    ];
  }

  moved() {
    const thickness = this.scale >= SHARP ? 0 : Math.max(1, Math.round(1.5 / this.scale));
    if (thickness !== this.thickness) {
      this.thickness = thickness;
      this.tiles.clear();
    }
    this.whole = true;
    this.#soon();
  }

  /** Something of the mask changed. */
  changed(box) {
    if (box) {
      this.stale = union(this.stale, box);
      this.#soon();
    }
  }

  tint(opacity) {
    this.opacity = opacity;
    this.tiles.clear();
    this.whole = true;
    this.#soon();
  }

  bare(hidden) {
    this.front.classList.toggle('bare', hidden);
  }

  again() {
    this.whole = true;
    this.#soon();
  }

  #soon() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  draw() {
    if (!this.mask) return;
    if (this.whole) this.#drawPicture();
    const near = this.stale && this.#grown(this.stale);
    if (near) { for (const [index, canvas] of this.tiles) this.#render(index, canvas, near); }
    const frame = this.whole
      ? rect(0, 0, this.front.width, this.front.height)
      : near && this.#onScreen(near);
    this.whole = false;
    this.stale = null;
    if (frame) this.#drawMask(frame);
  }

  #drawPicture() {
    const context = this.#background();
    context.imageSmoothingEnabled = this.scale < SHARP;
    context.drawImage(
      this.bitmap,
      this.x,
      this.y,
      this.mask.width * this.scale,
      this.mask.height * this.scale,
    );
  }

  #background() {
    const context = this.back.getContext('2d', { alpha: false });
    context.fillStyle = getComputedStyle(this.stage).backgroundColor;
    context.fillRect(0, 0, this.back.width, this.back.height);
    return context;
  }

  #drawMask(frame) {
    const context = this.front.getContext('2d');
    context.save();
    context.beginPath();
    context.rect(frame.left, frame.top, frame.right - frame.left, frame.bottom - frame.top);
    context.clip();
    context.clearRect(frame.left, frame.top, frame.right - frame.left, frame.bottom - frame.top);
    context.imageSmoothingEnabled = false;
    const { mask } = this;
    for (let index = 0; index < mask.across * mask.down; index++) {
      const box = mask.tile(index),
        left = this.#px(box.left, this.x),
        top = this.#px(box.top, this.y),
        right = this.#px(box.right, this.x),
        bottom = this.#px(box.bottom, this.y);
      if (
        right <= frame.left || left >= frame.right || bottom <= frame.top || top >= frame.bottom
      ) continue;
      context.drawImage(this.#canvas(index), left, top, right - left, bottom - top);
    }
    if (!this.thickness) this.#drawEdges(context, frame);
    this.extra?.(context, this);
    context.restore();
  }

  /** Outlines between pixels, where these are large. */
  #drawEdges(context, frame) {
    const { mask, scale } = this, { data, width, height } = mask;
    const left = Math.max(0, Math.floor((frame.left - this.x) / scale) - 1),
      right = Math.min(width, Math.ceil((frame.right - this.x) / scale) + 1);
    const top = Math.max(0, Math.floor((frame.top - this.y) / scale) - 1),
      bottom = Math.min(height, Math.ceil((frame.bottom - this.y) / scale) + 1);
    const paths = new Map();
    const edge = (value, x0, y0, x1, y1) => {
      if (!this.colours[value]) return;
      if (!paths.has(value)) paths.set(value, new Path2D());
      const path = paths.get(value);
      path.moveTo(this.x + x0 * scale, this.y + y0 * scale);
      path.lineTo(this.x + x1 * scale, this.y + y1 * scale);
    };
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) {
        const value = data[y * width + x],
          beside = x + 1 < width ? data[y * width + x + 1] : value,
          below = y + 1 < height ? data[(y + 1) * width + x] : value;
        if (value !== beside) edge(this.colours[value] ? value : beside, x + 1, y, x + 1, y + 1);
        if (value !== below) edge(this.colours[value] ? value : below, x, y + 1, x + 1, y + 1);
      }
    }
    context.lineWidth = 2 * devicePixelRatio;
    context.lineCap = 'square';
    for (const [value, path] of paths) {
      context.strokeStyle = `rgb(${this.colours[value]})`;
      context.stroke(path);
    }
  }

  #canvas(index) {
    let canvas = this.tiles.get(index);
    if (!canvas) {
      const box = this.mask.tile(index);
      canvas = new OffscreenCanvas(box.right - box.left, box.bottom - box.top);
      this.tiles.set(index, canvas);
      this.#render(index, canvas, box);
    }
    return canvas;
  }

  /** Draws a part of a tile from the mask's classes. */
  #render(index, canvas, part) {
    const box = this.mask.tile(index);
    const left = Math.max(box.left, part.left),
      top = Math.max(box.top, part.top),
      right = Math.min(box.right, part.right),
      bottom = Math.min(box.bottom, part.bottom);
    if (right <= left || bottom <= top) return;
    const { data, width, height } = this.mask,
      reach = this.thickness,
      image = new ImageData(right - left, bottom - top);
    const words = new Uint32Array(image.data.buffer),
      inner = new Uint32Array(256),
      outer = new Uint32Array(256);
    this.colours.forEach((colour, value) => {
      if (!colour) return;
      const [red, green, blue] = colour, solid = red | green << 8 | blue << 16;
      inner[value] = (solid | Math.round(this.opacity * 255) << 24) >>> 0;
      outer[value] = (solid | 0xff000000) >>> 0;
    });
    let at = 0;
    for (let y = top; y < bottom; y++) {
      const above = Math.max(0, y - reach) * width,
        below = Math.min(height - 1, y + reach) * width,
        row = y * width;
      for (let x = left; x < right; x++, at++) {
        const value = data[row + x];
        if (!outer[value]) continue;
        const rim = reach &&
          (data[above + x] !== value || data[below + x] !== value ||
            data[row + Math.max(0, x - reach)] !== value ||
            data[row + Math.min(width - 1, x + reach)] !== value);
        words[at] = rim ? outer[value] : inner[value];
      }
    }
    canvas.getContext('2d').putImageData(image, left - box.left, top - box.top);
  }

  #grown(box) {
    const reach = Math.max(1, this.thickness);
    return rect(box.left - reach, box.top - reach, box.right + reach, box.bottom + reach);
  }
  #px(value, origin) {
    return Math.round(origin + value * this.scale);
  }
  #onScreen(box) {
    return rect(
      this.#px(box.left, this.x) - 2,
      this.#px(box.top, this.y) - 2,
      this.#px(box.right, this.x) + 2,
      this.#px(box.bottom, this.y) + 2,
    );
  }
  #visible() {
    return this.x < this.front.width && this.y < this.front.height &&
      this.x + this.mask.width * this.scale > 0 && this.y + this.mask.height * this.scale > 0;
  }
}

export { TILE };
