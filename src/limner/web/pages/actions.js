// What keys and buttons do, by the names that keys.js and the page's data-act give.

import { go } from './navigation.js';
import { showMode } from './panel.js';
import { setOpacity, tools, view, zoom } from './stage.js';
import { $, mayDraw, state } from './state.js';
import { decide, nextOpen } from './verdicts.js';

const OPACITIES = [0.35, 0.15, 0.6, 0];
const BRUSH_STEP = 1.15, PAN_PX = 60;

export const ACTIONS = {
  accept: (event) => {
    if (tools.mode === 'polygon' && tools.points.length > 2) tools.closePolygon();
    else if (!$('reasons').hidden && event.key === 'Enter') decide('reject');
    else {
      $('reasons').hidden = true;
      decide('accept');
    }
  },
  subtract: () => tools.closePolygon(true),
  close: () => tools.closePolygon(),
  reject: () => {
    if (!mayDraw()) return;
    if (!$('reasons').hidden) decide('reject');
    else $('reasons').hidden = false;
  },
  digit: (event) => {
    const button = $('reasons').querySelectorAll('button')[+event.key - 1];
    if (!$('reasons').hidden && button) decide('reject', button.dataset.reason);
  },
  skip: async () => {
    const session = state.current;
    if (!session) return;
    const next = await nextOpen(session);
    if (next !== null && session === state.current) go(next);
  },
  next: () => go(Math.min(state.letters.length - 1, state.place + 1)),
  previous: () => go(Math.max(0, state.place - 1)),
  undo: () => {
    if (mayDraw() && !tools.busy) showChanged(state.current.mask.undo());
  },
  redo: () => {
    if (mayDraw() && !tools.busy) showChanged(state.current.mask.redo());
  },
  brush: () => {
    tools.erasing = false;
    if (tools.mode !== 'brush') tools.become(tools.mode);
    showMode();
  },
  eraser: () => {
    tools.erasing = !tools.erasing;
    showMode();
  },
  polygon: () => tools.become('polygon'),
  grow: () => tools.become('grow'),
  fill: () => tools.fillHoles(),
  class: nextClass,
  smaller: () => tools.size(tools.radius / BRUSH_STEP),
  larger: () => tools.size(tools.radius * BRUSH_STEP),
  opacity: () => {
    const index = OPACITIES.findIndex((opacity) => Math.abs(opacity - view.opacity) < 0.01);
    setOpacity(OPACITIES[(index + 1) % OPACITIES.length]);
  },
  bare: () => view.bare(true),
  dressed: () => view.bare(false),
  in: () => zoom(1.25),
  out: () => zoom(0.8),
  fit: () => view.fit(),
  left: () => view.pan(PAN_PX, 0),
  right: () => view.pan(-PAN_PX, 0),
  up: () => view.pan(0, PAN_PX),
  down: () => view.pan(0, -PAN_PX),
  escape: () => {
    if (!$('reasons').hidden) $('reasons').hidden = true;
    else tools.escape();
  },
  help: () => $('help').open ? $('help').close() : $('help').showModal(),
};

/** Shows and saves the tiles that undo or redo changed, if any. */
function showChanged(tiles) {
  if (!tiles) return;
  for (const index of tiles) view.changed(state.current.mask.tile(index));
  state.current.saver.keep(tiles);
}

/** Chooses the class after the one that is drawn, among those that can be. */
function nextClass() {
  const values = state.review.classes.flatMap(({ scored }, index) => scored ? [index] : []);
  state.value = values[(values.indexOf(state.value) + 1) % values.length];
  showMode();
}
