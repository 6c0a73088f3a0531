// What keys and buttons do, by the names that keys.js and the page's data-act give.

import { loadHeat, loadMask } from './api.js';
import { Mask } from './mask.js';
import { showPlain } from './display.js';
import { go } from './navigation.js';
import { showPeople, toggleNotes } from './notes.js';
import { say, showMode, shownClasses } from './panel.js';
import { setOpacity, tools, view, zoom } from './stage.js';
import { $, mayDraw, state } from './state.js';
import { decide, nextOpen } from './verdicts.js';

const OPACITIES = [0.35, 0.15, 0.6, 0];
const BRUSH_STEP = 1.15, PAN_PX = 60;

export const ACTIONS = {
  accept: (event) => {
    // While corners are set nothing is decided
    if (tools.points.length) tools.closePolygon();
    else if (!$('reasons').hidden && event.key === 'Enter') decide('reject', null, event);
    else {
      $('reasons').hidden = true;
      decide('accept', null, event);
    }
  },
  subtract: () => tools.closePolygon(true),
  close: () => tools.closePolygon(),
  reject: (event) => {
    if (!mayDraw()) return;
    if (!$('reasons').hidden) decide('reject', null, event);
    else $('reasons').hidden = false;
  },
  digit: (_event, key) => {
    if ($('reasons').hidden) shownClasses()[key - 1]?.click();
    else {
      const button = $('reasons').querySelectorAll('button')[key - 1];
      if (button) decide('reject', button.dataset.reason);
    }
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
    if (tools.points.length) tools.dropCorner();
    else if (mayDraw() && !tools.busy) showChanged(state.current.mask.undo());
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
    if (!tools.mayErase()) return;
    tools.erasing = !tools.erasing;
    showMode();
  },
  polygon: () => tools.become('polygon'),
  lasso: () => tools.become('lasso'),
  bucket: () => tools.become('bucket'),
  contour: () => tools.become('contour'),
  corner: () => tools.dropCorner(),
  copy: copyFromBefore,
  protect: () => {
    tools.protects = !tools.protects;
    showMode();
  },
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
  before: showBefore,
  after: () => {
    if (!state.current) return;
    state.current.isAsked = false;
    view.exchange(state.current.mask);
  },
  uncertainty: toggleUncertainty,
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
  plain: showPlain,
  note: toggleNotes,
  people: showPeople,
  help: () => $('help').open ? $('help').close() : $('help').showModal(),
};

/** Shows and saves the tiles that undo or redo changed, if any. */
function showChanged(tiles) {
  if (!tiles) return;
  for (const index of tiles) view.changed(state.current.mask.tile(index));
  state.current.saver.keep(tiles);
}

/** Shows the mask as it was before anybody changed it, until `after`. */
async function showBefore() {
  const session = state.current;
  if (!session || tools.busy) return;
  session.isAsked = true;
  try {
    if (!session.before) {
      const { width, height, data } = await loadMask(session.place, 'predicted');
      session.before = new Mask(width, height, data);
    }
    if (session === state.current && session.isAsked) view.exchange(session.before);
  } catch (error) {
    say(error.message);
  }
}

/** Shows over the image where the model was uncertain, or no longer. */
async function toggleUncertainty() {
  const session = state.current;
  if (!session) return;
  if (view.heat) {
    view.warm(null);
    return;
  }
  try {
    session.heat ??= await loadHeat(session.place);
    if (session === state.current) view.warm(session.heat);
  } catch (error) {
    say(error.message);
  }
}

/** Puts the mask of the image before over this one, as a stroke. */
async function copyFromBefore() {
  const session = state.current;
  if (!mayDraw() || tools.busy) return;
  if (!session.place) {
    say('This is the first image.');
    return;
  }
  let before;
  try {
    before = state.sessions.get(session.place - 1)?.mask ?? await loadMask(session.place - 1);
  } catch (error) {
    say(error.message);
    return;
  }
  if (session !== state.current || !mayDraw() || tools.busy) return;
  const { mask } = session, { width, height } = before;
  if (width !== mask.width || height !== mask.height) {
    say(`The image before has ${width} × ${height} px, this one ${mask.width} × ${mask.height}.`);
  } else tools.replace(before.data);
}

/** Chooses the class after the one that is drawn, among those that can be. */
function nextClass() {
  const { classes, void: unsure } = state.review;
  const values = [...classes.flatMap(({ scored }, index) => scored ? [index] : []), unsure];
  state.value = values[(values.indexOf(state.value) + 1) % values.length];
  showMode();
}
