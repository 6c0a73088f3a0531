// From image to image: tasks are opened ahead of time, held while somebody is at them, and left.

import { ask, get, loadTask } from './api.js';
import { fillDisplay, refresh } from './display.js';
import { Journal } from './journal.js';
import { Mask, rect } from './mask.js';
import { countNotes } from './notes.js';
import {
  applyProgress,
  notice,
  say,
  showNotices,
  showOutdated,
  showSaved,
  showStrip,
  showTask,
} from './panel.js';
import { Saver } from './saver.js';
import { tools, view } from './stage.js';
import { $, addWorkTime, remember, state } from './state.js';

const AHEAD = 2, KEPT = 5; // images that are opened before they are wanted, and kept afterwards
const OPEN_PIXELS = 120e6; // of all images that are open, about
const loading = new Map(); // by place: the promise of a session that is being opened

/** The place of the next open task after one, as the server knows it; null where there is none. */
export const nextAfter = (place) =>
  get(`api/next?after=${place}`).then((answer) => answer.place, () => null);

/** Opens a task, or takes it from those that are open. */
export function openTask(place) {
  if (state.sessions.has(place)) return Promise.resolve(state.sessions.get(place));
  if (!loading.has(place)) {
    loading.set(place, openSession(place).finally(() => loading.delete(place)));
  }
  return loading.get(place);
}

async function openSession(place) {
  const { review, display } = state;
  // Of a large image tiles and rows of the mask come after it is shown
  let session = null;
  const isShown = () => session !== null && session === state.current;
  const shown = {
    came: () => isShown() && view.again(),
    rows: (first, end) => isShown() && view.changed(rect(0, first, session.mask.width, end)),
  };
  let loaded = await loadTask(place, display, shown);
  const journal = new Journal(`${review.identity}:${review.reviewer}:${loaded.task.key}`);
  if (await journal.read()) {
    // What a closed page sent last has arrived by now
    loaded.bitmap.close();
    loaded = await loadTask(place, display, shown);
  }
  const { task, bitmap, pixels, width, height, edition, basis, version, filled } = loaded;
  if (edition !== review.edition) {
    showOutdated();
    throw new Error('another review is served here by now');
  }
  const mask = new Mask(width, height, pixels);
  session = { place, task, bitmap, mask, owner: task.owner, spent: 0, seen: 0, shown: 0 };
  session.display = display;
  session.tiled = !!task.tiled;
  session.next = null; // the promise of the place that comes after it
  session.saver = new Saver({
    place,
    journal,
    reviewer: review.reviewer,
    mask,
    shown: `${edition}-${basis}`,
    version,
    changed: () => strokesChanged(session),
    wrote: applyProgress,
  });
  session.filling = filled?.then(() => putBack(session), (error) => fail(session, error));
  if (!filled) session.restored = session.saver.restore();
  state.sessions.set(place, session);
  return session;
}

/** All of a large mask has come: strokes that the server has not are put over it. */
function putBack(session) {
  session.filling = null;
  session.restored = session.saver.restore();
  if (session === state.current) {
    view.show(session.bitmap, session.mask);
    showTask();
    sayRestored(session);
  }
}

/** A large mask did not come whole: nothing may be drawn on what is there. */
function fail(session, error) {
  session.saver.stopped = error;
  if (session === state.current) showSaved();
}

/** Says it where strokes were put back that had not reached the server. */
function sayRestored(session) {
  if (!session.restored || session.saver.stopped) return;
  session.restored = false;
  say('Strokes that had not reached the server were put back.');
}

/** Strokes went out, arrived, or were refused. */
function strokesChanged(session) {
  if (session.saver.stopped) handleRefusal(session);
  showSaved();
}

/** The server refused strokes or a verdict for good. */
export function handleRefusal(session) {
  if (session.saver.stopped.status === 409) showOutdated();
  else if (session !== state.current) remember(session, session.saver.stopped);
}

/** How many images may be open: fewer of large ones. */
function openLimit() {
  const { width, height } = state.current.mask;
  return Math.max(1, Math.min(KEPT + AHEAD, Math.floor(OPEN_PIXELS / (width * height))));
}

/** Shows the task at a place, and opens those that come next. */
export async function go(place) {
  const request = ++state.request;
  if (tools.busy) tools.escape();
  $('reasons').hidden = true;
  let session;
  try {
    session = await openTask(place);
  } catch (error) {
    if (request === state.request) showBroken(place, error);
    return;
  }
  if (request !== state.request) return;
  showSession(session);
  // Whoever holds one turn is not offered the other
  session.next = hold(session).then(() => nextAfter(place));
  await openAhead(session, request);
}

function showSession(session) {
  // A stroke may have started while this one was loaded
  if (tools.busy) tools.escape();
  if (state.current && state.current !== session) leave(state.current);
  state.current = session;
  session.seen = session.shown = performance.now();
  state.place = session.place;
  state.broken = null;
  closeOldest(session);
  tools.forget();
  view.show(session.bitmap, session.mask);
  $('done').hidden = true;
  state.refused.delete(session.place);
  notice();
  showTask();
  countNotes();
  refresh();
  fillDisplay();
  sayRestored(session);
}

/** Closes what was open longest, but nothing that is unsaved or being decided. */
function closeOldest(session) {
  const { sessions } = state, limit = openLimit();
  sessions.delete(session.place);
  sessions.set(session.place, session);
  for (const [place, other] of sessions) {
    const { saver, deciding } = other;
    const closable = other !== session && !saver.unsaved && !saver.stopped && !deciding;
    if (sessions.size > limit && closable) {
      sessions.delete(place);
      other.bitmap.close();
      other.heat?.close();
    }
  }
}

async function openAhead(session, request) {
  let next = await session.next;
  for (let i = 0; i < AHEAD; i++) {
    const shown = request === state.request && state.current;
    if (!shown || i >= openLimit() || next === null || next === session.place) return;
    await openTask(next).catch(() => null);
    next = await nextAfter(next);
  }
}

function showBroken(place, error) {
  if (tools.busy) tools.escape();
  if (state.current) leave(state.current);
  state.current = null;
  state.place = place;
  state.broken = { place, message: error.message };
  view.clear();
  $('name').textContent = `image ${place + 1}`;
  $('facts').textContent = '';
  showNotices();
  showStrip(place);
}

/** Goes on from an image that cannot be shown. */
export async function goToNextAfter(place) {
  const { request } = state, next = await nextAfter(place);
  if (request !== state.request) return;
  go(next === null || next === place ? (place + 1) % state.letters.length : next);
}

/** Tells the others who is at this image, and learns who else is. */
export async function hold(session, over = false) {
  const { saver } = session;
  try {
    const path = `api/tasks/${session.place}/lease`;
    const task = await (await ask('POST', path, { json: { over }, match: saver.match })).json();
    session.owner = task.owner;
    session.task = task;
    const untouched = !saver.unsaved && !saver.stopped && !session.deciding && !tools.busy;
    if (task.version > saver.version && untouched) {
      // Somebody was here since it was loaded
      reload(session);
      return;
    }
    if (session === state.current) showTask();
  } catch (error) {
    // After any other error the next heartbeat tries again
    if (error.status === 409) showOutdated();
  }
}

function leave(session) {
  addWorkTime(session);
  if (session.saver.stopped) remember(session, session.saver.stopped);
  if (!session.owner) ask('DELETE', `api/tasks/${session.place}/lease`).catch(() => {});
}

/** Opens a task anew. */
export async function reload(session) {
  state.sessions.delete(session.place);
  if (session === state.current) {
    state.current = null;
    await go(session.place);
  }
}
