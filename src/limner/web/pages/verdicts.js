// Verdicts: sent in the background, after the strokes before them, while the next image is shown.

import { ask, get, isFinal, RetryPause, Stale } from './api.js';
import { go, handleRefusal, nextAfter, openTask, reload } from './navigation.js';
import { applyProgress, say, showSaved, showTask } from './panel.js';
import { tools } from './stage.js';
import { $, addWorkTime, mayDraw, remember, state } from './state.js';

const OTHER_SERVER_MS = 300;
// In which nobody judges an image: a key was pressed twice, or a button clicked twice
const SEEN_MS = 200, CLICKED_MS = 500;

/** Whether a person can mean the image that is shown; if not, says why nothing is decided. */
function wasSeen(verdict, event) {
  const { current, review } = state;
  if (tools.points.length) {
    say('An outline is not finished. Enter adds it, Esc takes it away.');
    return false;
  }
  const least = event?.detail > 1 ? CLICKED_MS : SEEN_MS;
  if (performance.now() - current.shown < least) {
    say('This image has only just come, so nothing was decided. Press again.');
    return false;
  }
  const isEmpty = review.blank && verdict === 'accept' && !current.task.verdict &&
    !current.mask.data.some((value) => value === review.void || review.classes[value]?.scored);
  if (isEmpty && !current.acceptsEmpty) {
    current.acceptsEmpty = true;
    say('Nothing is drawn here. Accept once more if there is nothing to draw.');
    return false;
  }
  return true;
}

/**
 * Says what becomes of the mask, and shows the next one without waiting for the answer. `event` is
 * the key or click, if any.
 */
export async function decide(verdict, reason = null, event = null) {
  if (!mayDraw() || tools.busy || !wasSeen(verdict, event)) return;
  const session = state.current;
  addWorkTime(session);
  const seconds = Math.round(session.spent * 10) / 10;
  session.spent = 0;
  session.deciding = send(session, { verdict, reason, seconds }).finally(() => {
    session.deciding = null;
    state.deciding.delete(session);
    showSaved();
  });
  state.deciding.add(session);
  $('reasons').hidden = true;
  const next = await nextOpen(session);
  if (session !== state.current) return;
  if (next === null || next === session.place) finish(session);
  else go(next);
}

/** The next open task, as it will be once all verdicts on their way have arrived. */
export async function nextOpen(session) {
  while (!state.outdated) {
    const next = await session.next;
    const pending = [...state.deciding].find((other) => other.place === next);
    const decided = 'amr'.includes(state.letters[next]);
    if (next === null || next === session.place || (!pending && !decided)) return next;
    if (pending) await pending.deciding;
    else {
      // Two servers over one database may know different things for a while
      await get('api/progress').then(applyProgress, () => {});
      await new Promise((done) => setTimeout(done, OTHER_SERVER_MS));
    }
    session.next = nextAfter(session.place);
  }
  return null;
}

/** Sends a verdict until the server has it or refuses it for good. */
async function send(session, json) {
  const { saver, place } = session, pause = new RetryPause();
  let lost = false; // whether an answer may have been lost
  for (;;) {
    try {
      await saver.settled();
      const options = { json, match: saver.match };
      const answer = await (await ask('POST', `api/tasks/${place}/verdict`, options)).json();
      saver.version = answer.version;
      applyProgress(answer);
      refreshTask(session);
      return;
    } catch (error) {
      if (saver.isOurs(error, lost)) {
        saver.version = error.version;
        get('api/progress').then(applyProgress, () => {});
        return;
      }
      if (isFinal(error)) {
        handleFinal(session, error);
        return;
      }
      lost ||= !error.status || error.status >= 500;
      saver.trouble = error.status ? error.message : 'the server does not answer';
      showSaved();
      await pause.wait();
      saver.trouble = '';
    }
  }
}

function refreshTask(session) {
  get(`api/tasks/${session.place}`).then((task) => {
    session.task = task;
    if (session === state.current) showTask();
  }, () => {});
}

/** The server refused a verdict for good. */
function handleFinal(session, error) {
  const shown = session === state.current, { saver } = session;
  if (error.status === 410) {
    // The image or its mask was changed: what is seen now is not what was judged
    if (!shown) remember(session, error);
    reload(session);
    if (shown) openTask(session.place).then(() => say(error.message), () => {});
    return;
  }
  if (error instanceof Stale || error.status === 409) saver.stopped = error;
  if (saver.stopped) handleRefusal(session);
  else if (!shown) remember(session, error);
  showSaved();
  if (shown && !saver.stopped) say(error.message);
}

/** No open task is known: asks again once every verdict has arrived, and says it if it is true. */
export async function finish(session) {
  await Promise.all([...state.deciding].map((other) => other.deciding));
  let next;
  try {
    applyProgress(await get('api/progress'));
    next = (await get('api/next')).place;
  } catch (error) {
    say(error.message);
    return;
  }
  if (session !== state.current) return;
  if (next !== null) {
    if (next !== session.place) go(next);
    return;
  }
  const { left, audit } = state.review.progress;
  $('done').textContent = left
    ? `Nothing is left for you. ${left} ${left === 1 ? 'waits' : 'wait'} for others.`
    : `All is reviewed. Thank you.${audit ? ` ${audit}` : ''}`;
  $('done').hidden = false;
}
