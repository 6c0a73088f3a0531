// How the image is shown: a window of its values, a gamma, one of its channels. The server draws it
// from the values of the file. What is set holds for the images that come.

import { get, loadPicture } from './api.js';
import { say } from './panel.js';
import { view } from './stage.js';
import { $, state } from './state.js';

let facts = null; // what the server says of the image that the controls are for
let isDrawing = false, isWaiting = false;

/** Fills the controls for the current image, if they are open. */
export async function fillDisplay() {
  const session = state.current;
  if (!$('display').open || !session) return;
  if (session.tiled) {
    say('Large images are shown as they are read.');
    return;
  }
  const channel = state.display?.channel ?? '';
  try {
    const query = channel === '' ? '' : `?channel=${channel}`;
    facts = await get(`api/tasks/${session.place}/display${query}`);
  } catch (error) {
    say(error.message);
    return;
  }
  if (session !== state.current) return;
  fillChannels();
  fillWindows();
  const [low, high] = state.display?.windows[channel] ?? [facts.low, facts.high];
  for (const [name, value] of [['low', low], ['high', high]]) {
    $(name).min = Math.min(facts.lowest, value);
    $(name).max = Math.max(facts.highest, value);
    $(name).value = value;
  }
  $('gamma').value = Math.log10(state.display?.gamma ?? 1);
  writeNumbers();
}

function fillChannels() {
  $('channel-label').hidden = facts.channels < 2;
  const options = [new Option('colours', '')];
  for (let index = 0; index < facts.channels; index++) {
    options.push(new Option(`${index + 1} of ${facts.channels}`, index));
  }
  $('channel').replaceChildren(...options);
  $('channel').value = state.display?.channel ?? '';
}

function fillWindows() {
  $('window-label').hidden = !facts.windows.length;
  const options = facts.windows.map(({ name }, index) => new Option(name, index));
  $('window').replaceChildren(new Option('as set', ''), ...options);
}

function writeNumbers() {
  const digits = facts && facts.highest - facts.lowest < 10 ? 3 : 0;
  for (const name of ['low', 'high']) {
    $(`${name}-out`).textContent = (+$(name).value).toFixed(digits);
  }
  $('gamma-out').textContent = (10 ** +$('gamma').value).toFixed(2);
}

/** Takes over what the controls say, and shows it. */
function set() {
  writeNumbers();
  const windows = { ...state.display?.windows };
  // Each channel has its own
  windows[$('channel').value] = [+$('low').value, +$('high').value];
  state.display = { windows, gamma: 10 ** +$('gamma').value, channel: $('channel').value };
  refresh();
}

/** Shows the image as its file is read. */
export function showPlain() {
  state.display = null;
  refresh();
  fillDisplay();
}

/** Draws the current image as it is set, one request at a time. */
export async function refresh() {
  if (isDrawing) {
    isWaiting = true;
    return;
  }
  isDrawing = true;
  const session = state.current, { display } = state;
  try {
    if (session && session.display !== display && !session.tiled) {
      const { bitmap } = await loadPicture(session.place, display);
      session.bitmap.close();
      session.bitmap = bitmap;
      session.display = display;
      if (session === state.current) view.picture(bitmap);
    }
  } catch (error) {
    say(error.message);
  }
  isDrawing = false;
  if (isWaiting) {
    isWaiting = false;
    refresh();
  }
}

/** Listens to the controls. */
export function listenToDisplay() {
  $('display').addEventListener('toggle', fillDisplay);
  for (const name of ['low', 'high', 'gamma']) $(name).addEventListener('input', set);
  $('window').addEventListener('change', () => {
    const window = facts.windows[$('window').value];
    if (!window) return;
    // A window may reach beyond the values of this image
    for (const name of ['low', 'high']) {
      $(name).min = Math.min(facts.lowest, window.low);
      $(name).max = Math.max(facts.highest, window.high);
      $(name).value = window[name];
    }
    set();
  });
  $('channel').addEventListener('change', () => {
    const { windows = {}, gamma = 1 } = state.display ?? {};
    state.display = { windows, gamma, channel: $('channel').value };
    refresh();
    fillDisplay();
  });
}
