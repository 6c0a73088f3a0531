// The view: the image on one canvas, the mask's tint and outline on another above it, of which only
// what changed is drawn again.

import { rect, TILE, union } from './mask.js';
import { haloOf, Overlay } from './overlay.js';
import { paint } from './picture.js';

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
    // Shown over the image and below the mask
    this.heat = null;
    this.overlay = new Overlay();
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
    this.heat = null;
    this.overlay.clear();
    if (this.fitted || (differs && !this.#visible())) this.fit();
    else this.moved();
  }

  /** Shows the same image otherwise. */
  picture(bitmap) {
    this.bitmap = bitmap;
    this.again();
  }

  /** Shows another mask of the same image. */
  exchange(mask) {
    if (!this.mask || mask === this.mask) return;
    this.mask = mask;
    this.overlay.clear();
    this.again();
  }

  /** Shows a map over the image; null takes it away. */
  warm(heat) {
    this.heat = heat;
    this.again();
  }

  /** Shows nothing. */
  clear() {
    this.bitmap = null;
    this.mask = null;
    this.overlay.clear();
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
    const scale = Math.min(64, Math.max(0.002, this.scale * factor)), [ix, iy] = this.at(sx, sy);
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
    this.overlay.scaled(this.scale, this.scale >= SHARP);
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
    this.overlay.clear();
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
    if (near) this.overlay.changed(this, near);
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
    const { width, height } = this.mask, { scale } = this;
    const part = {
      left: Math.max(0, -this.x / scale),
      top: Math.max(0, -this.y / scale),
      right: Math.min(width, (this.back.width - this.x) / scale),
      bottom: Math.min(height, (this.back.height - this.y) / scale),
    };
    if (part.right <= part.left || part.bottom <= part.top) return;
    paint(this.bitmap, context, part, this.x + part.left * scale, this.y + part.top * scale, scale);
    if (!this.heat) return;
    context.drawImage(this.heat, this.x, this.y, width * scale, height * scale);
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
    this.overlay.draw(context, this, frame);
    if (this.overlay.isSharp) this.#drawEdges(context, frame);
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
    context.lineCap = 'square';
    for (const [extra, colourOf] of [[2, haloOf], [0, (colour) => colour]]) {
      context.lineWidth = (2 + extra) * devicePixelRatio;
      for (const [value, path] of paths) {
        context.strokeStyle = `rgb(${colourOf(this.colours[value])})`;
        context.stroke(path);
      }
    }
  }

  #grown(box) {
    const { reach } = this.overlay;
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
