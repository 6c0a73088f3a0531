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
  const channel = state.display?.channel;
  try {
    const query = channel === undefined ? '' : `?channel=${channel}`;
    facts = await get(`api/tasks/${session.place}/display${query}`);
  } catch (error) {
    say(error.message);
    return;
  }
  if (session !== state.current) return;
  fillChannels();
  fillWindows();
  for (const name of ['low', 'high']) {
    $(name).min = facts.lowest;
    $(name).max = facts.highest;
    $(name).value = state.display?.[name] ?? facts[name];
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
  const channel = $('channel').value === '' ? undefined : +$('channel').value;
  state.display = { low: +$('low').value, high: +$('high').value, gamma: 10 ** +$('gamma').value };
  if (channel !== undefined) state.display.channel = channel;
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
    const channel = $('channel').value;
    state.display = channel === '' ? null : { channel: +channel };
    refresh();
    fillDisplay();
  });
}
