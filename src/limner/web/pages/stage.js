// The stage: the view of image and mask, and the tools that draw on it. What a person sets is
// remembered.

import { loadModelMaps } from './api.js';
import { say, showMode } from './panel.js';
import { $, mayDraw, state } from './state.js';
import { Tools } from './tools.js';
import { View } from './view.js';

const SETTINGS = 'limner:hand';

export const view = new View($('stage'), $('picture'), $('overlay'));
export const tools = new Tools($('stage'), $('ring'), view, {
  mask: () => state.current?.mask,
  bitmap: () => state.current?.bitmap,
  value: () => state.value,
  erased: () => state.review.erased,
  modelMaps: () => {
    const session = state.current;
    return session.maps ??= loadModelMaps(session.place);
  },
  say,
  mayDraw,
  ended: (tiles) => {
    if (tiles.length) state.current.saver.keep(tiles);
  },
  sized: () => {
    $('size').value = Math.log(tools.radius / 0.5) / Math.log(1024) * 100;
    $('size-out').value = `${Math.round(tools.radius * 2)} px`;
    saveSettings();
  },
  mode: showMode,
});

/** Gives the keyboard to the stage. */
export const focusStage = () => $('stage').focus({ preventScroll: true });

/** Zooms about the middle of the stage. */
export function zoom(factor) {
  const box = $('stage').getBoundingClientRect();
  view.zoom(factor, box.width / 2, box.height / 2);
}

/** Sets how strongly masks are tinted, 0 to 1. */
export function setOpacity(opacity) {
  view.tint(opacity);
  $('opacity').value = opacity * 100;
  saveSettings();
}

/** Sets how alike colours must be to be grown over. */
export function setTolerance(tolerance) {
  tools.tolerance = tolerance;
  saveSettings();
}

/** Keeps brush, opacity and tolerance in this browser. */
function saveSettings() {
  const { radius, tolerance } = tools;
  try {
    const settings = JSON.stringify({ radius, opacity: view.opacity, tolerance });
    localStorage.setItem(SETTINGS, settings);
  } catch { /* the browser keeps nothing: the defaults hold next time */ }
}

/** Sets brush, opacity and tolerance as they were left. */
export function loadSettings() {
  let settings = {};
  try {
    settings = JSON.parse(localStorage.getItem(SETTINGS)) ?? {};
  } catch { /* the browser kept nothing: the defaults hold */ }
  tools.tolerance = settings.tolerance ?? tools.tolerance;
  $('tolerance').value = tools.tolerance;
  setOpacity(settings.opacity ?? view.opacity);
  tools.size(settings.radius ?? tools.radius);
}
