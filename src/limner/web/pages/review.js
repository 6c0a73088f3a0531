// The review: one image at a time, in the order of the queue. What is drawn is saved by `service.js`; nothing here is the truth of a mask.

import { KEYS, listen, writeHelp } from './keys.js';
import { Mask, rect } from './mask.js';
import { Journal, Saver, Stale, ask, asked, final, load } from './service.js';
import { Tools } from './tools.js';
import { View } from './view.js';

const $ = (id) => document.getElementById(id);
const MARKS = { a: '✓', m: '✎', r: '✕', d: '•', '.': '' };
const AHEAD = 2, KEPT = 5, AROUND = 6; // images fetched before they are wanted, kept after they were, and pictures in the strip on each side
const PIXELS = 120e6; // of the images that are open at once, about
const IDLE_S = 30; // of silence that count as work at most
const HEARTBEAT_MS = 60_000;
const OPACITIES = [0.35, 0.15, 0.6, 0];

const view = new View($('stage'), $('picture'), $('overlay'));
const tools = new Tools($('stage'), $('ring'), view, {
  mask: () => now?.mask, bitmap: () => now?.bitmap, value: () => value, erased: () => about.erased, mayDraw,
  ended: (tiles) => { if (tiles.length) now.saver.keep(tiles); },
  sized: () => { $('size').value = Math.log(tools.radius / 0.5) / Math.log(1024) * 100; $('size-out').value = `${Math.round(tools.radius * 2)} px`; remember(); },
  mode: showMode,
});

let about = null; // of the review as a whole
let letters = ''; // of each task, what became of it
let writes = 0; // that the letters know of
let moved = false; // whether the server shows another review by now
let broken = null; // what is wrong with an image that cannot be shown
let now = null; // the task that is shown
let here = 0; // its place, also while it is fetched anew or cannot be shown
let wanted = 0; // counts up, so that what comes late is not shown
let value = 1; // the class that is drawn
const sessions = new Map(); // by place: what was opened, with its strokes to undo
const loading = new Map();
const decisions = new Set(); // verdicts on their way

/** Opens a task, or takes it from those that are open. */
async function opened(place) {
  if (sessions.has(place)) return sessions.get(place);
  if (!loading.has(place)) {
    loading.set(place, load(place).then(async (found) => {
      const journal = new Journal(`${about.identity}:${about.reviewer}:${found.about.key}`);
      if (await journal.read()) { found.picture.close(); found = await load(place); } // what a closed page sent last has arrived by now
      const { about: told, picture, data, width, height, edition, basis, version } = found;
      if (edition !== about.edition) { leaveBehind(); throw new Error('another review is served here by now'); }
      const mask = new Mask(width, height, data), session = { place, told, bitmap: picture, mask, owner: told.owner, following: null, spent: 0, seen: 0 };
      session.saver = new Saver(place, journal, about.reviewer, mask, `${edition}-${basis}`, version, () => changed(session), heard);
      session.restored = session.saver.restore();
      sessions.set(place, session);
      return session;
    }).finally(() => loading.delete(place)));
  }
  return loading.get(place);
}

/** How many images may be open: of large ones fewer. */
const room = () => Math.max(1, Math.min(KEPT + AHEAD, Math.floor(PIXELS / (now.mask.width * now.mask.height))));

/** Strokes went out, arrived, or were refused. */
function changed(session) {
  if (session.saver.stopped) stoppedAt(session);
  showSaved();
}

function stoppedAt(session) {
  if (session.saver.stopped.status === 409) leaveBehind();
  else if (session !== now) refused.set(session.place, `${session.told.name}: ${session.saver.stopped.message}`);
}

async function go(place) {
  const turn = ++wanted;
  if (tools.busy) tools.escape();
  $('reasons').hidden = true;
  let session;
  try { session = await opened(place); } catch (error) {
    if (turn === wanted) unreadable(place, error);
    return;
  }
  if (turn !== wanted) return;
  if (tools.busy) tools.escape(); // begun while this one was fetched
  if (now && now !== session) leave(now);
  now = session; now.seen = performance.now(); here = place; broken = null;
  sessions.delete(place); sessions.set(place, session); // the newest
  for (const [old, kept] of sessions) if (sessions.size > room() && kept !== now && !kept.saver.unsaved && !kept.saver.stopped && !kept.deciding) { sessions.delete(old); kept.bitmap.close(); }
  tools.forget();
  view.show(session.bitmap, session.mask);
  $('done').hidden = true;
  refused.delete(place);
  notice();
  show();
  if (session.restored && !session.saver.stopped) { session.restored = false; say('Strokes that had not reached the server were put back.'); }
  session.following = hold(session).then(() => asked(`/api/next?after=${place}`)).then((said) => said.place, () => null); // who holds one turn is not offered the other
  let ahead = await session.following;
  for (let i = 0; turn === wanted && now && i < Math.min(AHEAD, room()) && ahead !== null && ahead !== place; i++) {
    await opened(ahead).catch(() => null);
    ahead = (await asked(`/api/next?after=${ahead}`).catch(() => ({ place: null }))).place;
  }
}

function unreadable(place, error) {
  if (tools.busy) tools.escape();
  if (now) leave(now);
  now = null; here = place; broken = { place, message: error.message };
  view.clear();
  $('name').textContent = `image ${place + 1}`; $('facts').textContent = '';
  tell();
  strip(place);
}

async function following(place) {
  const turn = wanted, next = await asked(`/api/next?after=${place}`).then((said) => said.place, () => null);
  if (turn === wanted) go(next === null || next === place ? (place + 1) % letters.length : next);
}

/** Tells the others who is at this image; says who else is. */
async function hold(session, over = false) {
  try {
    const said = await (await ask('POST', `/api/tasks/${session.place}/lease`, { json: { over }, match: session.saver.match })).json();
    session.owner = said.owner; session.told = said;
    if (said.version > session.saver.version && !session.saver.unsaved && !session.saver.stopped && !session.deciding && !tools.busy) { reload(session); return; } // somebody was here since it was fetched
    if (session === now) show();
  } catch (error) { if (error.status === 409) leaveBehind(); /* else the next heartbeat tries again */ }
}

function leave(session) {
  spend(session);
  if (session.saver.stopped) refused.set(session.place, `${session.told.name}: ${session.saver.stopped.message}`);
  if (!session.owner) ask('DELETE', `/api/tasks/${session.place}/lease`).catch(() => {});
}

async function reload(session) {
  sessions.delete(session.place);
  if (session === now) { now = null; await go(session.place); }
}

function mayDraw() { return now !== null && !moved && !now.owner && !now.told.barred && !now.saver.stopped && !now.deciding; }

/** Says what became of the mask, and shows the next without waiting for the answer. */
async function decide(verdict, reason = null) {
  if (!mayDraw()) return;
  const session = now;
  if (tools.busy) return;
  spend(session);
  const seconds = Math.round(session.spent * 10) / 10;
  session.spent = 0;
  session.deciding = settle(session, { verdict, reason, seconds }).finally(() => { session.deciding = null; decisions.delete(session); showSaved(); });
  decisions.add(session);
  $('reasons').hidden = true;
  const next = await upcoming(session);
  if (session !== now) return;
  if (next === null || next === session.place) finished(session); else go(next);
}

/** The next open task as the server knows it, and as it will once what is on its way has arrived. */
async function upcoming(session) {
  while (!moved) {
    const next = await session.following, decided = [...decisions].find((one) => one.place === next);
    if (next === null || next === session.place || (!decided && !'amr'.includes(letters[next]))) return next;
    if (decided) await decided.deciding;
    else { await asked('/api/progress').then(heard, () => {}); await new Promise((done) => setTimeout(done, 300)); } // two servers may know different things for a while
    session.following = asked(`/api/next?after=${session.place}`).then((said) => said.place, () => null);
  }
  return null;
}

const refused = new Map(); // by place: strokes and verdicts of images that were left since, until somebody goes back to them

async function settle(session, decision) {
  let lost = false;
  for (let pause = 500; ; pause = Math.min(pause * 2, 10_000)) {
    try {
      await session.saver.settled();
      const said = await (await ask('POST', `/api/tasks/${session.place}/verdict`, { json: decision, match: session.saver.match })).json();
      session.saver.version = said.version;
      heard(said);
      asked(`/api/tasks/${session.place}`).then((told) => { session.told = told; if (session === now) show(); }, () => {});
      return;
    } catch (error) {
      if (session.saver.ours(error, lost)) { session.saver.version = error.version; asked('/api/progress').then(heard, () => {}); return; }
      if (final(error)) {
        if (error.status === 410) { // the image or its mask was changed under it: what is seen now is not what was judged
          const seen = session === now;
          if (!seen) refused.set(session.place, `${session.told.name}: ${error.message}`);
          reload(session);
          if (seen) opened(session.place).then(() => say(error.message), () => {});
          return;
        }
        if (error instanceof Stale || error.status === 409) session.saver.stopped = error;
        if (session.saver.stopped) stoppedAt(session);
        else if (session !== now) refused.set(session.place, `${session.told.name}: ${error.message}`);
        showSaved();
        if (session === now && !session.saver.stopped) say(error.message);
        return;
      }
      lost ||= !error.status || error.status >= 500;
      session.saver.trouble = error.status ? error.message : 'the server does not answer'; showSaved();
      await new Promise((done) => setTimeout(done, pause));
      session.saver.trouble = '';
    }
  }
}

/** Nothing more was known of: asks again once every verdict has arrived, and says it where it is so. */
async function finished(session) {
  await Promise.all([...decisions].map((one) => one.deciding));
  let next;
  try {
    heard(await asked('/api/progress'));
    next = (await asked('/api/next')).place;
  } catch (error) { say(error.message); return; }
  if (session !== now) return;
  if (next !== null) { if (next !== now.place) go(next); return; }
  const { left, audit } = about.progress;
  $('done').textContent = left ? `Nothing is left for you. ${left} ${left === 1 ? 'waits' : 'wait'} for others.` : `All is reviewed. Thank you.${audit ? ` ${audit}` : ''}`;
  $('done').hidden = false;
}

/** What the server says of the whole with every answer, unless a later answer was faster. */
function heard(said) {
  if (said.edition !== about.edition) { leaveBehind(); return; }
  if (said.writes < writes) return;
  letters = said.letters; writes = said.writes; about.progress = said.progress;
  showProgress();
  if (now) strip(now.place);
}

/** The server shows another review, or another order of it: nothing that is seen here can be written any more. */
function leaveBehind() { moved = true; tell(); }

function show() {
  const { told } = now;
  $('name').textContent = told.name + (told.turn > 1 ? ' · second look' : '');
  document.title = `${told.name} · limner review`;
  const parts = [`${now.place + 1} of ${letters.length}`, `${now.mask.width} × ${now.mask.height} px`];
  if (told.predicted_dice !== null) parts.push(`predicted Dice ${told.predicted_dice.toFixed(2)}`);
  if (told.unusual) parts.push('unlike the training images');
  if (told.verdict) parts.push(`${told.verdict}${told.reviewer ? ` by ${told.reviewer}` : ''}${told.reason ? `: ${told.reason}` : ''}`);
  $('facts').textContent = parts.join(' · ');
  showProgress(); showSaved(); showMode(); strip(now.place);
}

function showProgress() {
  const { tasks, left, accepted, mended, rejected, minutes_per_image: minutes, audit } = about.progress;
  $('left').textContent = `${left} left`;
  $('more').textContent = ` · ${accepted} accepted · ${mended} mended · ${rejected} rejected${minutes === null ? '' : ` · ${minutes < 1 ? `${Math.round(minutes * 60)} s` : `${minutes.toFixed(1)} min`} each`}`;
  $('counts').title = audit ?? '';
  $('progress').value = tasks ? (tasks - left) / tasks : 0;
}

function showSaved() {
  const open = [...sessions.values()], trouble = open.find((session) => session.saver.trouble)?.saver.trouble;
  const busy = decisions.size || open.some((session) => session.saver.unsaved);
  $('saved').textContent = trouble ? `not saved yet: ${trouble}` : busy ? 'saving…' : 'saved';
  $('saved').classList.toggle('bad', !!trouble);
  tell();
}

/** What a person must know, or choose, before anything else. */
function tell() {
  const session = now, stopped = now?.saver.stopped, [first] = refused;
  const reopen = () => { refused.delete(session.place); session.saver.yield(); reload(session); };
  if (moved) notice('Another review, or another order of it, is served here by now. Strokes that it has not are kept in this browser.', 'Load it', () => location.reload());
  else if (broken) notice(broken.message, 'Next', () => following(broken.place));
  else if (stopped instanceof Stale) notice(stopped.message, 'Keep mine', () => session.saver.insist(), 'Take theirs', reopen);
  else if (stopped) notice(stopped.message, 'Try again', () => session.saver.again(), 'Forget what I drew', reopen);
  else if (now?.told.barred) notice('You looked at this image in its other turn. This one is for somebody else.');
  else if (now?.owner) notice(`${now.owner} is at this image.`, 'Take over', () => hold(session, true));
  else if (first) notice(first[1], 'Go back to it', () => go(first[0]));
  else if (!saying) notice();
}

function showMode() {
  for (const [name, on] of [['brush', tools.mode === 'brush' && !tools.erasing], ['eraser', tools.erasing], ['polygon', tools.mode === 'polygon'], ['grow', tools.mode === 'grow']])
    document.querySelector(`aside [data-act=${name}]`).setAttribute('aria-pressed', on);
  document.querySelector('aside [data-act=close]').hidden = tools.mode !== 'polygon';
  for (const button of $('classes').children) button.setAttribute('aria-checked', +button.dataset.value === value);
}

let saying = 0;
function notice(text, yes, onYes, no, onNo) {
  clearTimeout(saying); saying = 0;
  $('notice').hidden = !text;
  if (!text) return;
  if ($('notice-text').textContent !== text) $('notice-text').textContent = text; // or it would be read aloud again
  for (const [button, label, work] of [[$('notice-yes'), yes, onYes], [$('notice-no'), no, onNo]]) { button.hidden = !label; button.textContent = label ?? ''; button.onclick = work ?? null; }
}
function say(text) { notice(text); saying = setTimeout(() => { saying = 0; tell(); }, 4000); }

/** The pictures around the one that is shown. */
function strip(place) {
  const from = Math.max(0, Math.min(place - AROUND, letters.length - 2 * AROUND - 1)), until = Math.min(letters.length, from + 2 * AROUND + 1), wantedPlaces = [];
  for (let i = from; i < until; i++) wantedPlaces.push(i);
  const there = new Map([...$('strip').children].map((button) => [+button.dataset.place, button]));
  $('strip').replaceChildren(...wantedPlaces.map((i) => {
    const letter = letters[i] ?? '.', button = there.get(i) ?? document.createElement('button');
    if (!there.has(i)) { button.type = 'button'; button.dataset.place = i; button.tabIndex = -1; button.append(new Image()); button.onclick = () => go(i); }
    if (button.dataset.letter !== letter) { button.dataset.letter = letter; button.dataset.mark = MARKS[letter]; button.firstChild.src = `/api/tasks/${i}/thumbnail?as=${encodeURIComponent(letter)}`; }
    button.firstChild.alt = `image ${i + 1}`;
    button.setAttribute('aria-current', i === place);
    return button;
  }));
}

function spend(session) { const at = performance.now(); session.spent += Math.min(IDLE_S, (at - session.seen) / 1000); session.seen = at; }
for (const name of ['pointermove', 'pointerdown', 'keydown', 'wheel']) addEventListener(name, () => now && performance.now() - now.seen > 1000 && spend(now), { passive: true, capture: true });

function undone(tiles) {
  if (!tiles) return;
  for (const index of tiles) view.changed(now.mask.tile(index));
  now.saver.keep(tiles);
}

const ACTS = {
  accept: (event) => {
    if (tools.mode === 'polygon' && tools.points.length > 2) tools.closePolygon();
    else if (!$('reasons').hidden && event.key === 'Enter') decide('reject');
    else { $('reasons').hidden = true; decide('accept'); }
  },
  subtract: () => tools.closePolygon(true),
  close: () => tools.closePolygon(),
  reject: () => { if (!mayDraw()) return; if (!$('reasons').hidden) decide('reject'); else $('reasons').hidden = false; },
  digit: (event) => { const button = $('reasons').querySelectorAll('button')[+event.key - 1]; if (!$('reasons').hidden && button) decide('reject', button.dataset.reason); },
  skip: async () => { const session = now; if (!session) return; const next = await upcoming(session); if (next !== null && session === now) go(next); },
  next: () => go(Math.min(letters.length - 1, here + 1)),
  previous: () => go(Math.max(0, here - 1)),
  undo: () => { if (mayDraw() && !tools.busy) undone(now.mask.undo()); },
  redo: () => { if (mayDraw() && !tools.busy) undone(now.mask.redo()); },
  brush: () => { tools.erasing = false; if (tools.mode !== 'brush') tools.become(tools.mode); showMode(); },
  eraser: () => { tools.erasing = !tools.erasing; showMode(); },
  polygon: () => tools.become('polygon'),
  grow: () => tools.become('grow'),
  fill: () => tools.fillHoles(),
  class: () => { const drawable = about.classes.flatMap((one, i) => one.scored ? [i] : []); value = drawable[(drawable.indexOf(value) + 1) % drawable.length]; showMode(); },
  smaller: () => tools.size(tools.radius / 1.15), larger: () => tools.size(tools.radius * 1.15),
  opacity: () => tint(OPACITIES[(OPACITIES.findIndex((one) => Math.abs(one - view.opacity) < 0.01) + 1) % OPACITIES.length]),
  bare: () => view.bare(true), dressed: () => view.bare(false),
  in: () => zoom(1.25), out: () => zoom(0.8), fit: () => view.fit(),
  left: () => view.pan(60, 0), right: () => view.pan(-60, 0), up: () => view.pan(0, 60), down: () => view.pan(0, -60),
  escape: () => { if (!$('reasons').hidden) $('reasons').hidden = true; else tools.escape(); },
  help: () => $('help').open ? $('help').close() : $('help').showModal(),
};

function zoom(factor) { const box = $('stage').getBoundingClientRect(); view.zoom(factor, box.width / 2, box.height / 2); }
function tint(opacity) { view.tint(opacity); $('opacity').value = opacity * 100; remember(); }
function remember() { try { localStorage.setItem('limner:hand', JSON.stringify({ radius: tools.radius, opacity: view.opacity, tolerance: tools.tolerance })); } catch { /* as it is next time */ } }

async function start() {
  about = await asked('/api/review'); letters = about.letters; writes = about.writes;
  view.colours = about.classes.map((one) => one.scored ? one.colour : null);
  view.colours[about.void] = [128, 128, 128];
  value = Math.max(0, about.classes.findIndex((one) => one.scored));
  const scored = about.classes.flatMap((one, i) => one.scored ? [[one, i]] : []);
  $('classes').hidden = scored.length < 2;
  for (const [one, i] of scored) {
    const button = document.createElement('button'), colour = document.createElement('i');
    button.type = 'button'; button.setAttribute('role', 'radio'); button.dataset.value = i;
    colour.style.background = `rgb(${one.colour})`;
    button.append(colour, one.name); button.onclick = () => { value = i; showMode(); };
    $('classes').append(button);
  }
  let hand = {};
  try { hand = JSON.parse(localStorage.getItem('limner:hand')) ?? {}; } catch { /* as it comes */ }
  tools.tolerance = hand.tolerance ?? tools.tolerance; $('tolerance').value = tools.tolerance;
  tint(hand.opacity ?? view.opacity); tools.size(hand.radius ?? tools.radius);
  writeHelp($('keys'));
  listen((name, event) => { if ($('help').open && name !== 'help') { if (name === 'escape') $('help').close(); return; } ACTS[name]?.(event); });
  document.addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (button?.dataset.act) { ACTS[button.dataset.act](event); $('stage').focus({ preventScroll: true }); }
    if (button?.dataset.reason) decide('reject', button.dataset.reason);
  });
  $('size').oninput = () => tools.size(0.5 * 1024 ** ($('size').value / 100));
  $('opacity').oninput = () => tint($('opacity').value / 100);
  $('tolerance').oninput = () => { tools.tolerance = +$('tolerance').value; remember(); };
  for (const input of document.querySelectorAll('input[type=range]')) input.onchange = () => $('stage').focus({ preventScroll: true });
  addEventListener('beforeunload', (event) => { if (decisions.size || [...sessions.values()].some((session) => !session.saver.kept)) event.preventDefault(); });
  addEventListener('pagehide', () => { if (now && !now.owner) fetch(`/api/tasks/${now.place}/lease`, { method: 'DELETE', keepalive: true }).catch(() => {}); });
  setInterval(async () => { if (now) hold(now); try { heard(await asked('/api/progress')); } catch { /* the strokes say it */ } }, HEARTBEAT_MS);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => view.again());
  const first = (await asked('/api/next')).place;
  await go(first ?? 0);
  if (first === null && now) finished(now);
  $('stage').focus({ preventScroll: true });
}

start().catch((error) => notice(`The review cannot be shown: ${error.message}`));

/** For tests and the curious: what is shown, as it is. */
window.limner = { KEYS, rect, view, tools, get now() { return now; }, get letters() { return letters; }, get unsaved() { return decisions.size + [...sessions.values()].filter((one) => one.saver.unsaved).length; } };
