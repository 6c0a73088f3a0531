// The review page: one image at a time, in the order of the queue. This module puts the parts
// together.

import { ACTIONS } from './actions.js';
import { get } from './api.js';
import { listenToDisplay } from './display.js';
import { KEYS, listen, writeHelp } from './keys.js';
import { rect } from './mask.js';
import { go, hold } from './navigation.js';
import { listenToNotes } from './notes.js';
import { applyProgress, notice, showMode, shownClasses } from './panel.js';
import { focusStage, loadSettings, setOpacity, setTolerance, tools, view } from './stage.js';
import { $, addWorkTime, state } from './state.js';
import { decide, finish } from './verdicts.js';

const HEARTBEAT_MS = 60_000;
// What is left undecided is neither trained on nor scored
const UNSURE = { name: 'not sure', colour: [128, 128, 128] };
const DIGITS = 9; // keys for classes

async function start() {
  const review = await get('api/review');
  Object.assign(state, { review, letters: review.letters, writes: review.writes });
  view.colours = review.classes.map(({ scored, colour }) => scored ? colour : null);
  view.colours[review.void] = UNSURE.colour;
  state.value = Math.max(0, review.classes.findIndex(({ scored }) => scored));
  makeClassButtons(review.classes);
  loadSettings();
  writeHelp($('keys'));
  listenToKeys();
  listenToButtons();
  listenToPage();
  listenToNotes();
  listenToDisplay();
  setInterval(heartbeat, HEARTBEAT_MS);
  const first = (await get('api/next')).place;
  await go(first ?? 0);
  if (first === null && state.current) finish(state.current);
  focusStage();
}

function makeClassButtons(classes) {
  const shown = classes.flatMap((one, value) => one.scored ? [{ ...one, value }] : []);
  const { void: unsure } = state.review;
  for (const { name, colour, value } of [...shown, { ...UNSURE, value: unsure }]) {
    const button = document.createElement('button'), swatch = document.createElement('i');
    button.type = 'button';
    button.setAttribute('role', 'radio');
    button.dataset.value = value;
    button.dataset.name = name.toLowerCase();
    swatch.style.background = `rgb(${colour})`;
    button.append(swatch, name, document.createElement('kbd'));
    button.onclick = () => {
      state.value = value;
      showMode();
    };
    $('class-list').append(button);
  }
  $('class-filter').hidden = $('class-list').children.length <= DIGITS;
  $('class-filter').oninput = filterClasses;
  $('class-filter').onkeydown = (event) => {
    if (event.key !== 'Enter' && event.key !== 'Escape') return;
    if (event.key === 'Enter') shownClasses()[0]?.click();
    $('class-filter').value = '';
    filterClasses();
    focusStage();
  };
  filterClasses();
}

/** Shows the classes whose names hold what was typed; the first nine have a key. */
function filterClasses() {
  const text = $('class-filter').value.trim().toLowerCase();
  for (const button of $('class-list').children) {
    button.hidden = !button.dataset.name.includes(text);
    button.lastChild.textContent = '';
  }
  shownClasses().slice(0, DIGITS).forEach((button, index) => {
    button.lastChild.textContent = index + 1;
  });
}

function listenToKeys() {
  listen((name, event, key) => {
    const dialog = document.querySelector('dialog[open]');
    if (dialog && dialog.id !== name) {
      if (name === 'escape') dialog.close();
      return;
    }
    ACTIONS[name]?.(event, key);
  });
}

function listenToButtons() {
  document.addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (button?.dataset.act) {
      ACTIONS[button.dataset.act](event);
      focusStage();
    }
    if (button?.dataset.reason) decide('reject', button.dataset.reason);
  });
  $('size').oninput = () => tools.size(0.5 * 1024 ** ($('size').value / 100));
  $('opacity').oninput = () => setOpacity($('opacity').value / 100);
  $('tolerance').oninput = () => setTolerance(+$('tolerance').value);
  for (const input of document.querySelectorAll('input[type=range]')) input.onchange = focusStage;
}

function listenToPage() {
  for (const name of ['pointermove', 'pointerdown', 'keydown', 'wheel']) {
    addEventListener(name, noteActivity, { passive: true, capture: true });
  }
  addEventListener('beforeunload', (event) => {
    const open = [...state.sessions.values()];
    if (state.deciding.size || open.some(({ saver }) => !saver.kept)) event.preventDefault();
  });
  addEventListener('pagehide', () => {
    const { current } = state;
    if (!current || current.owner) return;
    const path = `api/tasks/${current.place}/lease`;
    fetch(path, { method: 'DELETE', keepalive: true }).catch(() => {});
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => view.again());
}

function noteActivity() {
  const { current } = state;
  if (current && performance.now() - current.seen > 1000) addWorkTime(current);
}

async function heartbeat() {
  if (state.current) hold(state.current);
  try {
    applyProgress(await get('api/progress'));
  } catch { /* strokes that do not arrive show it */ }
}

start().catch((error) => notice(`The review cannot be shown: ${error.message}`));

/** For tests and the curious: what is shown, as it is. */
window.limner = {
  KEYS,
  rect,
  view,
  tools,
  get now() {
    return state.current;
  },
  get letters() {
    return state.letters;
  },
  get unsaved() {
    const open = [...state.sessions.values()];
    return state.deciding.size + open.filter(({ saver }) => saver.unsaved).length;
  },
};
