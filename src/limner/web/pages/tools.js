// Tools: mouse, pen and fingers on the stage become strokes, outlines and growth; wheel and pinch
// become brush size, zoom and position.

import { contourThrough } from './contour.js';
import { rect, union } from './mask.js';
import { Outline } from './outline.js';
import { paint } from './picture.js';

const GROW_PX = 2048; // the side of the part of an image in which a click grows
const LINE_PX = 16, PAGE_PX = 400; // what a wheel that counts lines or pages means
const SIZE_PER_PX = 0.0012, ZOOM_PER_PX = 0.005; // of a wheel, as exponents

export class Tools {
  /**
   * @param {HTMLElement} stage
   * @param {HTMLElement} ring shows the brush
   * @param {import('./view.js').View} view
   * @param {object} host
   * @param {() => any} host.mask the mask that is shown
   * @param {() => ImageBitmap} host.bitmap its image
   * @param {() => number} host.value the class that is drawn
   * @param {() => number | null} host.erased the class that erasing leaves; null without one
   * @param {() => Promise<object>} host.modelMaps what the model drew, and its uncertainty
   * @param {(text: string) => void} host.say tells the person something
   * @param {() => boolean} host.mayDraw
   * @param {(tiles: number[]) => void} host.ended is called with the tiles that a stroke changed
   * @param {() => void} host.sized is called when the brush has another size
   * @param {() => void} host.mode is called when another tool is chosen
   */
  constructor(stage, ring, view, host) {
    this.stage = stage;
    this.ring = ring;
    this.view = view;
    this.host = host;
    this.radius = 12;
    this.tolerance = 24;
    this.mode = 'brush';
    // By the button, for fingers
    this.erasing = false;
    this.outline = new Outline(view, host.bitmap);
    // Whether strokes leave other classes as they are
    this.protects = false;
    this.stroke = null;
    this.panning = null;
    this.fingers = new Map();
    this.pinch = null;
    this.last = null;
    // A finger that may be the first of two
    this.tap = null;
    view.extra = (context) => this.outline.draw(context, this.last, this.mode === 'lasso');
    const on = (name, work, options) => stage.addEventListener(name, work.bind(this), options);
    on('pointerdown', this.#down);
    on('pointermove', this.#move);
    on('pointerup', this.#up);
    on('pointercancel', this.#cancelled);
    on('pointerleave', () => {
      ring.hidden = true;
    });
    on('dblclick', () => this.#drawsOutline && this.closePolygon());
    on('contextmenu', (event) => event.preventDefault());
    on('wheel', this.#wheel, { passive: false });
  }

  size(radius) {
    this.radius = Math.min(512, Math.max(0.5, radius));
    this.host.sized();
    this.#showRing();
  }

  /** The corners of the outline that is being drawn. */
  get points() {
    return this.outline.corners;
  }

  get #drawsOutline() {
    return this.mode === 'polygon' || this.mode === 'lasso';
  }

  become(mode) {
    this.mode = this.mode === mode ? 'brush' : mode;
    this.outline.clear();
    this.view.again();
    this.host.mode();
  }

  /** Whether there is a background; if not, says why nothing is erased. */
  mayErase() {
    const may = this.host.erased() !== null;
    if (!may) {
      this.host.say(
        'These classes have no background, so nothing can be erased. Paint with another class.',
      );
    }
    return may;
  }

  /** Takes back the last corner. */
  dropCorner() {
    this.outline.drop();
    this.view.again();
  }

  /** Ends an outline: what is in it is added, or taken away. */
  closePolygon(subtract = this.erasing) {
    if (!this.points.length || this.stroke) return;
    if (this.points.length < 3) {
      this.host.say('An outline has at least three corners. Backspace takes one back, Esc all.');
      return;
    }
    const points = this.outline.points(this.mode === 'lasso'), mask = this.host.mask();
    if (!this.host.mayDraw() || (subtract && !this.mayErase())) return;
    this.outline.clear();
    this.#apply(() => mask.polygon(points, this.#value(subtract)), subtract);
  }

  fillHoles() {
    if (this.stroke || !this.host.mayDraw() || !this.mayErase()) return;
    this.#apply(() => this.host.mask().fillHoles(this.host.value(), this.host.erased()));
  }

  /** Puts another mask of the same size over this one. */
  replace(data) {
    this.#apply(() => this.host.mask().replace(data));
  }

  /** Leaves what was started; false where nothing was. */
  escape() {
    if (this.stroke) {
      this.view.changed(this.host.mask()?.cancel());
      this.stroke = null;
      return true;
    }
    if (this.points.length) {
      this.outline.clear();
      this.view.again();
      return true;
    }
    if (this.mode !== 'brush') {
      this.become(this.mode);
      return true;
    }
    return false;
  }

  get busy() {
    return !!this.stroke;
  }

  /** What was started on another image. */
  forget() {
    this.outline.clear();
    this.tap = null;
  }

  #value(erase) {
    return erase ? this.host.erased() : this.host.value();
  }

  /** Begins a stroke that adds or erases, and may be kept from other classes. */
  #begin(erase) {
    const mask = this.host.mask();
    mask.begin();
    mask.open = null;
    if (!this.protects) return;
    mask.open = new Uint8Array(256);
    mask.open[this.host.value()] = 1;
    if (!erase && this.host.erased() !== null) mask.open[this.host.erased()] = 1;
  }

  #apply(work, erase = false) {
    const mask = this.host.mask();
    this.#begin(erase);
    this.view.changed(work());
    this.host.ended(mask.end());
    this.view.again();
  }

  #place(event) {
    const box = this.stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  #down(event) {
    // What lies above the image is not drawn on
    if (event.target.closest('#notice, #reasons')) return;
    event.preventDefault();
    // What is drawn on is what is seen
    if (this.host.mask()) this.view.exchange(this.host.mask());
    this.stage.focus({ preventScroll: true });
    this.stage.setPointerCapture(event.pointerId);
    const place = this.#place(event), point = this.view.at(...place);
    if (event.pointerType === 'touch') {
      this.fingers.set(event.pointerId, place);
      if (this.fingers.size === 2) {
        this.tap = null;
        if (this.stroke) this.escape();
        this.pinch = this.#spread();
      }
      if (this.fingers.size > 1) return;
    }
    if (event.button === 1) {
      this.panning = place;
      return;
    }
    // One stroke at a time: a palm beside the pen draws nothing
    if (this.stroke || !this.host.mayDraw()) return;
    const erase = event.button === 2 || event.button === 5 || event.altKey || this.erasing;
    if (erase && !this.mayErase()) return;
    if (this.mode !== 'brush') {
      const act = () => this.#click(event.button, place, point, erase);
      if (event.pointerType === 'touch') this.tap = { id: event.pointerId, act };
      else act();
      return;
    }
    this.#begin(erase);
    this.stroke = { id: event.pointerId, value: this.#value(erase), at: point };
    this.view.changed(this.host.mask().line(...point, ...point, this.radius, this.stroke.value));
  }

  /** A click of a tool other than the brush. */
  #click(button, place, point, erase) {
    if (this.mode === 'grow') this.#grow(point, erase);
    else if (this.mode === 'bucket') this.#pour(point, erase);
    else if (this.mode === 'contour') this.#correct(point, erase);
    else if (button === 2) this.closePolygon(true);
    else if (!this.outline.grab(place)) {
      this.outline.add(point, this.mode === 'lasso');
      this.view.again();
    }
  }

  #move(event) {
    const place = this.#place(event);
    this.last = place;
    this.#showRing(event.pointerType);
    if (this.fingers.has(event.pointerId)) this.fingers.set(event.pointerId, place);
    if (this.pinch) {
      this.#pinched();
      return;
    }
    if (this.panning) {
      this.view.pan(place[0] - this.panning[0], place[1] - this.panning[1]);
      this.panning = place;
      return;
    }
    if (this.outline.held) this.outline.move(place);
    if (this.points.length) this.view.again();
    if (this.stroke?.id !== event.pointerId) return;
    const events = event.getCoalescedEvents?.() ?? [], box = this.stage.getBoundingClientRect();
    let changed = null;
    for (const one of events.length ? events : [event]) {
      const point = this.view.at(one.clientX - box.left, one.clientY - box.top),
        { at } = this.stroke;
      changed = union(
        changed,
        this.host.mask().line(...at, ...point, this.radius, this.stroke.value),
      );
      this.stroke.at = point;
    }
    this.view.changed(changed);
  }

  #up(event) {
    this.fingers.delete(event.pointerId);
    if (this.fingers.size < 2) this.pinch = null;
    if (this.tap?.id === event.pointerId) {
      const { act } = this.tap;
      this.tap = null;
      if (this.host.mayDraw()) act();
      if (this.outline.held && this.outline.release()) this.closePolygon();
      return;
    }
    if (event.button === 1 || this.panning) {
      this.panning = null;
      return;
    }
    if (this.outline.held) {
      if (this.outline.release()) this.closePolygon();
      return;
    }
    if (this.stroke?.id !== event.pointerId) return;
    this.stroke = null;
    this.host.ended(this.host.mask().end());
  }

  #cancelled(event) {
    this.fingers.delete(event.pointerId);
    this.pinch = null;
    this.panning = null;
    this.tap = null;
    if (this.stroke?.id === event.pointerId) this.escape();
  }

  #wheel(event) {
    event.preventDefault();
    // By distance, since a trackpad sends many small events where a mouse sends one
    const unit = [1, LINE_PX, PAGE_PX][event.deltaMode],
      dx = event.deltaX * unit,
      dy = event.deltaY * unit;
    if (event.ctrlKey || event.metaKey) {
      this.view.zoom(Math.exp(-dy * ZOOM_PER_PX), ...this.#place(event));
    } else if (event.shiftKey) this.view.pan(-dx || -dy, dx ? -dy : 0);
    else this.size(this.radius * Math.exp(-dy * SIZE_PER_PX));
  }

  #spread() {
    const [[ax, ay], [bx, by]] = [...this.fingers.values()];
    return { x: (ax + bx) / 2, y: (ay + by) / 2, apart: Math.max(1, Math.hypot(ax - bx, ay - by)) };
  }

  #pinched() {
    if (this.fingers.size < 2) return;
    const now = this.#spread();
    this.view.pan(now.x - this.pinch.x, now.y - this.pinch.y);
    this.view.zoom(now.apart / this.pinch.apart, now.x, now.y);
    this.pinch = now;
  }

  /** The pixel of the mask under a point; null beside it. */
  #pixel([x, y]) {
    const mask = this.host.mask(), px = Math.floor(x), py = Math.floor(y);
    return px >= 0 && py >= 0 && px < mask.width && py < mask.height ? [px, py] : null;
  }

  #pour(point, erase) {
    const pixel = this.#pixel(point);
    if (!pixel) return;
    this.#apply(() => this.host.mask().bucket(...pixel, this.#value(erase)), erase);
  }

  /** Moves the border to where the model would have it if it went through a point. */
  async #correct(point, erase) {
    const pixel = this.#pixel(point), mask = this.host.mask();
    if (!pixel) return;
    let maps;
    try {
      maps = await this.host.modelMaps();
    } catch (error) {
      this.host.say(`A click cannot correct here: ${error.message}`);
      return;
    }
    // They may have come late
    if (mask !== this.host.mask() || this.stroke || !this.host.mayDraw()) return;
    const value = this.#value(erase);
    const region = contourThrough(mask, maps.predicted, maps.uncertain, pixel, value);
    if (region) this.#apply(() => mask.fillFound(region.found, region.area, value), erase);
  }

  #grow(point, erase) {
    const mask = this.host.mask(), pixel = this.#pixel(point);
    if (!pixel) return;
    const [px, py] = pixel;
    const left = Math.max(0, px - GROW_PX / 2),
      top = Math.max(0, py - GROW_PX / 2),
      area = rect(
        left,
        top,
        Math.min(mask.width, left + GROW_PX),
        Math.min(mask.height, top + GROW_PX),
      );
    const canvas = new OffscreenCanvas(area.right - area.left, area.bottom - area.top),
      context = canvas.getContext('2d', { willReadFrequently: true });
    if (!paint(this.host.bitmap(), context, area, 0, 0, 1)) {
      this.host.say('The image is still coming here. Click again when it is sharp.');
      return;
    }
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    this.#apply(
      () => mask.grow(px, py, this.#value(erase), data, area, this.tolerance),
      erase,
    );
  }

  #showRing(kind = 'mouse') {
    this.ring.hidden = kind === 'touch' || !this.last || this.mode !== 'brush';
    if (this.ring.hidden) return;
    const side = Math.max(3, 2 * this.radius * this.view.scale / devicePixelRatio);
    this.ring.style.width = this.ring.style.height = `${side}px`;
    this.ring.style.transform = `translate(${this.last[0] - side / 2}px, ${
      this.last[1] - side / 2
    }px)`;
  }
}
