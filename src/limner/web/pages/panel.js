// What stands around the image: its name and facts, progress, what is saved, notices and the strip
// of thumbnails.

import { Stale } from './api.js';
import { go, goToNextAfter, hold, reload } from './navigation.js';
import { tools } from './stage.js';
import { $, state } from './state.js';

const MARKS = { a: '✓', m: '✎', r: '✕', d: '•', '.': '' };
// Verdicts as people read them; the server keeps the word of the first version
const VERDICT_NAMES = { accepted: 'accepted', mended: 'corrected', rejected: 'rejected' };
const AROUND = 6; // thumbnails on each side
const SAID_MS = 4000;
let saying = 0; // the timer of a notice that goes away by itself

/** Takes over what each answer says of the whole review, unless a later answer was faster. */
export function applyProgress(answer) {
  if (answer.edition !== state.review.edition) {
    showOutdated();
    return;
  }
  if (answer.writes < state.writes) return;
  state.letters = answer.letters;
  state.writes = answer.writes;
  state.review.progress = answer.progress;
  showProgress();
  if (state.current) showStrip(state.current.place);
}

/** The server shows another review or another order: nothing that is seen here can be written. */
export function showOutdated() {
  state.outdated = true;
  showNotices();
}

/** Shows all about the current image. */
export function showTask() {
  const { current, letters } = state, { task, mask } = current;
  $('name').textContent = task.name + (task.turn > 1 ? ' · second look' : '');
  document.title = `${task.name} · limner review`;
  const parts = [`${current.place + 1} of ${letters.length}`, `${mask.width} × ${mask.height} px`];
  if (task.predicted_dice !== null) parts.push(`predicted Dice ${task.predicted_dice.toFixed(2)}`);
  if (task.unusual) parts.push('unlike the training images');
  if (task.note) parts.push(task.note);
  if (task.assignee && task.assignee !== state.review.reviewer) parts.push(`for ${task.assignee}`);
  if (task.verdict) {
    const by = task.reviewer ? ` by ${task.reviewer}` : '';
    parts.push(`${VERDICT_NAMES[task.verdict]}${by}${task.reason ? `: ${task.reason}` : ''}`);
  }
  $('facts').textContent = parts.join(' · ');
  showProgress();
  showSaved();
  showMode();
  showStrip(current.place);
}

function showProgress() {
  const progress = state.review.progress;
  const { tasks, left, accepted, mended, rejected, minutes_per_image: minutes } = progress;
  let each = '';
  if (minutes !== null) {
    each = minutes < 1 ? `${Math.round(minutes * 60)} s` : `${minutes.toFixed(1)} min`;
    each = ` · ${each} each`;
  }
  $('left').textContent = `${left} left`;
  const counts = `${accepted} accepted · ${mended} corrected · ${rejected} rejected`;
  $('more').textContent = ` · ${counts}${each}`;
  $('counts').title = progress.audit ?? '';
  $('progress').value = tasks ? (tasks - left) / tasks : 0;
}

/** Shows whether all strokes and verdicts have reached the server. */
export function showSaved() {
  const open = [...state.sessions.values()];
  const trouble = open.find((session) => session.saver.trouble)?.saver.trouble;
  const busy = state.deciding.size || open.some((session) => session.saver.unsaved);
  $('saved').textContent = trouble ? `not saved yet: ${trouble}` : busy ? 'saving…' : 'saved';
  $('saved').classList.toggle('bad', !!trouble);
  showNotices();
}

/** Shows what a person must know, or choose, before anything else. */
export function showNotices() {
  const { current, outdated, broken } = state, stopped = current?.saver.stopped;
  const [refusal] = state.refused;
  if (outdated) {
    notice(
      'Another review, or another order of it, is served here by now. Strokes that it has not ' +
        'are kept in this browser.',
      ['Load it', () => location.reload()],
    );
  } else if (broken) {
    notice(broken.message, ['Next', () => goToNextAfter(broken.place)]);
  } else if (stopped) {
    showRefusal(current, stopped);
  } else if (current?.task.barred) {
    notice('You looked at this image in its other turn. This one is for somebody else.');
  } else if (current?.owner) {
    notice(`${current.owner} is at this image.`, ['Take over', () => hold(current, true)]);
  } else if (refusal) {
    notice(refusal[1], ['Go back to it', () => go(refusal[0])]);
  } else if (!saying) notice();
}

/** Lets the person choose between their strokes and what the server has. */
function showRefusal(session, error) {
  const forget = () => {
    state.refused.delete(session.place);
    session.saver.yield();
    reload(session);
  };
  if (error instanceof Stale) {
    const insist = () => session.saver.insist();
    notice(error.message, ['Keep mine', insist], ['Take theirs', forget]);
  } else {
    const again = () => session.saver.again();
    notice(error.message, ['Try again', again], ['Forget what I drew', forget]);
  }
}

/** Shows a notice with up to two buttons, each a label and what it does; without a text, none. */
export function notice(text, ...actions) {
  clearTimeout(saying);
  saying = 0;
  $('notice').hidden = !text;
  if (!text) return;
  // The same text again would be read aloud again
  if ($('notice-text').textContent !== text) $('notice-text').textContent = text;
  [$('notice-yes'), $('notice-no')].forEach((button, index) => {
    const [label, work] = actions[index] ?? [];
    button.hidden = !label;
    button.textContent = label ?? '';
    button.onclick = work ?? null;
  });
}

/** Shows a notice for some seconds. */
export function say(text) {
  notice(text);
  saying = setTimeout(() => {
    saying = 0;
    showNotices();
  }, SAID_MS);
}

/** Marks the tool and the class that are chosen. */
export function showMode() {
  const pressed = {
    brush: tools.mode === 'brush' && !tools.erasing,
    eraser: tools.erasing,
    polygon: tools.mode === 'polygon',
    lasso: tools.mode === 'lasso',
    grow: tools.mode === 'grow',
    bucket: tools.mode === 'bucket',
    contour: tools.mode === 'contour',
    protect: tools.protects,
  };
  for (const [name, on] of Object.entries(pressed)) {
    document.querySelector(`aside [data-act=${name}]`).setAttribute('aria-pressed', on);
  }
  const outlines = tools.mode === 'polygon' || tools.mode === 'lasso';
  document.querySelector('aside [data-act=close]').hidden = !outlines;
  for (const button of $('class-list').children) {
    button.setAttribute('aria-checked', +button.dataset.value === state.value);
  }
}

/** The buttons of classes that the filter shows. */
export const shownClasses = () => [...$('class-list').children].filter(({ hidden }) => !hidden);

/** Shows the thumbnails around a place; those that are there and have not changed stay. */
export function showStrip(place) {
  const count = state.letters.length, shown = 2 * AROUND + 1;
  const first = Math.max(0, Math.min(place - AROUND, count - shown));
  const places = [];
  for (let i = first; i < Math.min(count, first + shown); i++) places.push(i);
  const buttons = [...$('strip').children].map((button) => [+button.dataset.place, button]);
  const existing = new Map(buttons);
  $('strip').replaceChildren(...places.map((i) => {
    const button = existing.get(i) ?? thumbnailButton(i), letter = state.letters[i] ?? '.';
    if (button.dataset.letter !== letter) {
      button.dataset.letter = letter;
      button.dataset.mark = MARKS[letter];
      const src = `api/tasks/${i}/thumbnail?as=${encodeURIComponent(letter)}`;
      // The server has few cores, and a large image is to be seen before its thumbnail
      Promise.resolve(state.current?.bitmap.ready).then(() => {
        button.firstChild.src = src;
      });
    }
    button.setAttribute('aria-current', i === place);
    return button;
  }));
  const current = $('strip').querySelector('[aria-current=true]');
  // Only the strip moves: to scroll into view would move what is around it too
  if (current) {
    $('strip').scrollLeft = current.offsetLeft - ($('strip').clientWidth - current.offsetWidth) / 2;
  }
}

function thumbnailButton(place) {
  const button = document.createElement('button'), image = new Image();
  image.alt = `image ${place + 1}`;
  button.type = 'button';
  button.dataset.place = place;
  button.tabIndex = -1;
  button.append(image);
  button.onclick = () => go(place);
  return button;
}
