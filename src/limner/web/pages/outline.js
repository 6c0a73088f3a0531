// The outline of a polygon or lasso that is being drawn: its corners, which can be moved, and its
// sides, which in a lasso follow edges.

import { Scissors } from './scissors.js';

const NEAR_PX = 9; // of the screen, around a corner
const STILL_PX = 4; // a hand that clicks moves less

export class Outline {
  /**
   * @param {import('./view.js').View} view
   * @param {() => ImageBitmap} bitmap the image that is shown
   */
  constructor(view, bitmap) {
    this.view = view;
    this.bitmap = bitmap;
    this.clear();
  }

  clear() {
    this.corners = [];
    // Of each corner the points between the one before and it
    this.sides = [];
    // The corner that is moved, and whether it has been
    this.held = null;
    this.scissors = null;
  }

  /** Adds a corner, to which a lasso goes along edges. */
  add(point, followsEdges) {
    this.sides.push(followsEdges && this.corners.length ? this.#way(point) : []);
    this.corners.push(point);
    this.scissors = null;
  }

  /** Takes back the last corner. */
  drop() {
    this.corners.pop();
    this.sides.pop();
    this.held = this.scissors = null;
  }

  /** Takes hold of the corner under a point of the screen; whether there is one. */
  grab(place) {
    const [sx, sy] = place;
    const index = this.corners.findLastIndex((corner) => {
      const [x, y] = this.#onScreen(corner);
      return Math.hypot(x - sx, y - sy) <= NEAR_PX;
    });
    if (index >= 0) this.held = { index, place, moved: false };
    return index >= 0;
  }

  /** Moves the corner that is held to a point of the screen; its sides become straight. */
  move(place) {
    const { held } = this, [x, y] = held.place;
    held.moved ||= Math.hypot(place[0] - x, place[1] - y) >= STILL_PX;
    if (!held.moved) return;
    const point = this.view.at(...place);
    this.corners[held.index] = point;
    this.sides[held.index] = [];
    if (held.index + 1 < this.sides.length) this.sides[held.index + 1] = [];
    this.scissors = null;
  }

  /** Lets go of it; whether it was the first corner, which was clicked to close the outline. */
  release() {
    const { held } = this;
    this.held = null;
    return held?.index === 0 && !held.moved && this.corners.length > 2;
  }

  /** All points in their order, with the side that closes it. */
  points(followsEdges) {
    const points = this.corners.flatMap((corner, index) => [...this.sides[index], corner]);
    return followsEdges && this.corners.length > 1
      ? [...points, ...this.#way(this.corners[0])]
      : points;
  }

  /** Draws it, on to where the pointer is. */
  draw(context, last, followsEdges) {
    if (!this.corners.length) return;
    const { view } = this;
    const points = this.corners.flatMap((corner, index) => [...this.sides[index], corner]);
    if (last && !this.held) {
      const point = view.at(...last);
      points.push(...followsEdges ? this.#way(point) : [], point);
    }
    context.beginPath();
    for (const [x, y] of points) context.lineTo(view.x + x * view.scale, view.y + y * view.scale);
    if (!followsEdges) context.closePath();
    stroke(context);
    context.beginPath();
    for (const [x, y] of this.corners) {
      const side = NEAR_PX / 2 * devicePixelRatio;
      const left = view.x + x * view.scale, top = view.y + y * view.scale;
      context.rect(left - side / 2, top - side / 2, side, side);
    }
    stroke(context);
  }

  /** The way along edges from the last corner to a point. */
  #way(point) {
    const step = Math.max(1, Math.round(1 / this.view.scale));
    this.scissors ??= new Scissors(this.bitmap(), this.corners.at(-1), step);
    return this.scissors.to(point).slice(0, -1);
  }

  #onScreen([x, y]) {
    const { view } = this;
    return [
      (view.x + x * view.scale) / devicePixelRatio,
      (view.y + y * view.scale) / devicePixelRatio,
    ];
  }
}

/** Strokes a path so that it is seen on every colour. */
function stroke(context) {
  context.lineWidth = 3 * devicePixelRatio;
  context.strokeStyle = '#000c';
  context.stroke();
  context.lineWidth = 1.5 * devicePixelRatio;
  context.strokeStyle = '#fff';
  context.stroke();
}
