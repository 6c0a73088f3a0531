// Tools: mouse, pen and fingers on the stage become strokes, polygons and growth; wheel and pinch
// become brush size, zoom and position.

import { rect, union } from './mask.js';

const GROW_PX = 2048; // the side of the part of an image in which a click grows

export class Tools {
  /**
   * @param {HTMLElement} stage
   * @param {HTMLElement} ring shows the brush
   * @param {import('./view.js').View} view
   * @param {object} host
   * @param {() => any} host.mask the mask that is shown
   * @param {() => ImageBitmap} host.bitmap its image
   * @param {() => number} host.value the class that is drawn
   * @param {() => number} host.erased the class that erasing leaves
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
    this.points = [];
    this.stroke = null;
    this.panning = null;
    this.fingers = new Map();
    this.pinch = null;
    this.last = null;
    // A finger that may be the first of two
    this.tap = null;
    view.extra = (context) => this.#drawPolygon(context);
    const on = (name, work, options) => stage.addEventListener(name, work.bind(this), options);
    on('pointerdown', this.#down);
    on('pointermove', this.#move);
    on('pointerup', this.#up);
    on('pointercancel', this.#cancelled);
    on('pointerleave', () => {
      ring.hidden = true;
    });
    on('dblclick', () => this.mode === 'polygon' && this.closePolygon());
    on('contextmenu', (event) => event.preventDefault());
    on('wheel', this.#wheel, { passive: false });
  }

  size(radius) {
    this.radius = Math.min(512, Math.max(0.5, radius));
    this.host.sized();
    this.#showRing();
  }

  become(mode) {
    this.mode = this.mode === mode ? 'brush' : mode;
    this.points = [];
    this.view.again();
    this.host.mode();
  }

  /** Ends a polygon: what is in it is added, or taken away. */
  closePolygon(subtract = this.erasing) {
    const { points } = this, mask = this.host.mask();
    this.points = [];
    if (points.length > 2 && !this.stroke && this.host.mayDraw()) {
      this.#apply(() => mask.polygon(points, subtract ? this.host.erased() : this.host.value()));
    } else this.view.again();
  }

  fillHoles() {
    if (!this.stroke && this.host.mayDraw()) {
      this.#apply(() => this.host.mask().fillHoles(this.host.value(), this.host.erased()));
    }
  }

  /** Leaves what was started; false where nothing was. */
  escape() {
    if (this.stroke) {
      this.view.changed(this.host.mask()?.cancel());
      this.stroke = null;
      return true;
    }
    if (this.points.length) {
      this.points = [];
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
    this.points = [];
    this.tap = null;
  }

  #apply(work) {
    const mask = this.host.mask();
    mask.begin();
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
    if (this.mode !== 'brush') {
      const act = () => {
        if (this.mode === 'grow') this.#grow(point, erase);
        else if (event.button === 2) this.closePolygon(true);
        else {
          this.points.push(point);
          this.view.again();
        }
      };
      if (event.pointerType === 'touch') this.tap = { id: event.pointerId, act };
      else act();
      return;
    }
    this.host.mask().begin();
    this.stroke = {
      id: event.pointerId,
      value: erase ? this.host.erased() : this.host.value(),
      at: point,
    };
    this.view.changed(this.host.mask().line(...point, ...point, this.radius, this.stroke.value));
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
    if (this.mode === 'polygon' && this.points.length) this.view.again();
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
      return;
    }
    if (event.button === 1 || this.panning) {
      this.panning = null;
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
    if (event.ctrlKey || event.metaKey) {
      this.view.zoom(Math.exp(-event.deltaY / 200), ...this.#place(event));
    } else if (event.shiftKey) {
      this.view.pan(-event.deltaX || -event.deltaY, event.deltaX ? -event.deltaY : 0);
    } else this.size(this.radius * Math.exp(-Math.sign(event.deltaY) * 0.12));
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

  #grow([x, y], erase) {
    const mask = this.host.mask(), px = Math.floor(x), py = Math.floor(y);
    if (px < 0 || py < 0 || px >= mask.width || py >= mask.height) return;
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
    context.drawImage(this.host.bitmap(), -area.left, -area.top);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    this.#apply(() =>
      mask.grow(px, py, erase ? this.host.erased() : this.host.value(), data, area, this.tolerance)
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

  #drawPolygon(context) {
    if (!this.points.length) return;
    const { view } = this,
      points = this.last ? [...this.points, view.at(...this.last)] : this.points;
    context.beginPath();
    for (const [x, y] of points) context.lineTo(view.x + x * view.scale, view.y + y * view.scale);
    context.closePath();
    context.lineWidth = 3 * devicePixelRatio;
    context.strokeStyle = '#000c';
    context.stroke();
    context.lineWidth = 1.5 * devicePixelRatio;
    context.strokeStyle = '#fff';
    context.stroke();
  }
}
