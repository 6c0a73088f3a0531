// The way to the server and back: every finished stroke is kept in this browser first, then on the server, in order, and never over somebody else's.

import { packed, runs, unrun } from './mask.js';

export class Stale extends Error {
  constructor(by, version) { super(`${by} changed this mask in the meantime.`); this.by = by; this.version = version; }
}

/** Asks the server; raises what it said where it refused. */
export async function ask(method, path, { body, json, match } = {}) {
  const headers = {};
  if (match !== undefined) headers['If-Match'] = `"${match}"`;
  if (json !== undefined) { headers['Content-Type'] = 'application/json'; body = JSON.stringify(json); }
  const answer = await fetch(path, { method, headers, body });
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({ error: `the server answered ${answer.status}` }));
  if (answer.status === 412) throw new Stale(said.by, said.version);
  const error = new Error(said.error);
  error.status = answer.status;
  throw error;
}

/** Whether asking again would be answered in the same way. */
export const final = (error) => error instanceof Stale || (error.status >= 400 && error.status < 500 && ![401, 408, 429].includes(error.status));

export const asked = async (path) => (await ask('GET', path)).json();

/** What a task shows: its picture, ready to be drawn, and its mask. */
export async function load(place) {
  const [about, image, drawn] = await Promise.all([asked(`/api/tasks/${place}`), ask('GET', `/api/tasks/${place}/image`), ask('GET', `/api/tasks/${place}/mask`)]);
  const picture = await createImageBitmap(await image.blob());
  const data = new Uint8Array(await drawn.arrayBuffer()), [edition, basis, version] = drawn.headers.get('ETag').replace(/^W\//, '').replaceAll('"', '').split('-'); // a proxy may have packed it
  if (image.headers.get('X-Basis') !== basis) return load(place); // the files were changed between the two
  return { about, picture, data, width: +drawn.headers.get('X-Width'), height: +drawn.headers.get('X-Height'), edition, basis, version: +version };
}

const PAGE = [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, '0')).join('');

const pages = new BroadcastChannel('limner'), ANSWERED_MS = 500;
pages.onmessage = ({ data }) => { if (data === 'who') pages.postMessage(PAGE); };

/** The other pages of this browser that are open: those that answer. */
async function others() {
  const found = new Set(), answers = new BroadcastChannel('limner');
  answers.onmessage = ({ data }) => found.add(data);
  answers.postMessage('who');
  await new Promise((done) => setTimeout(done, ANSWERED_MS));
  answers.close();
  found.delete(PAGE);
  return found;
}

/** Strokes that the server has not acknowledged, kept in this browser so that a closed tab loses none; of each page by itself, for two may show one task. */
export class Journal {
  constructor(key) { this.prefix = `limner:${key}#`; this.key = this.prefix + PAGE; this.found = []; this.taken = []; }
  /** Finds what this page kept, and others that are closed; whether there were others. It stays until the next write of this one. */
  async read() {
    try {
      const page = (key) => key.slice(this.prefix.length);
      let keys = Object.keys(localStorage).filter((key) => key === this.prefix.slice(0, -1) || (key.startsWith(this.prefix) && /^[0-9a-f]{16}$/.test(page(key))));
      if (keys.some((key) => key !== this.key)) {
        const open = await others();
        keys = keys.filter((key) => !open.has(page(key)));
      }
      for (const key of keys) try { this.found.push(JSON.parse(localStorage.getItem(key))); } catch { /* no journal of ours */ }
      this.taken = keys.filter((key) => key !== this.key);
    } catch { /* a browser that keeps nothing */ }
    return this.taken.length > 0;
  }
  /** Whether they are kept: the browser's store may be full, or forbidden, and then the server alone can keep them. */
  write(version, mask, tiles) {
    try {
      if (!tiles.size) localStorage.removeItem(this.key);
      else localStorage.setItem(this.key, JSON.stringify({ version, tiles: Object.fromEntries([...tiles].map((index) => [index, [...runs(mask.finished(index))]])) }));
      for (const key of this.taken.splice(0)) localStorage.removeItem(key);
      return true;
    } catch { return !tiles.size; }
  }
}

/** Sends one task's strokes, one request at a time, until all are there. */
export class Saver {
  constructor(place, journal, reviewer, mask, seen, version, changed, wrote) {
    this.place = place; this.journal = journal; this.reviewer = reviewer; this.mask = mask; this.seen = seen; this.version = version; this.changed = changed; this.wrote = wrote;
    this.dirty = new Set(); this.sending = new Set();
    this.running = null; this.trouble = ''; this.kept = true;
    this.stopped = null; // by a refusal that is final: Stale where somebody else wrote
  }

  get unsaved() { return this.dirty.size + this.sending.size; }

  /** What the server must have for a write of ours to be one after what was seen. */
  get match() { return `${this.seen}-${this.version}`; }

  /** Strokes that earlier pages could not send: true where some were put back. */
  restore() {
    const kept = this.journal.found.splice(0).filter((one) => one), tiles = new Map(); // another page may have taken one meanwhile
    if (!kept.length) return false;
    let version = Infinity;
    for (const one of kept) for (const [index, drawn] of this.#news(one)) {
      const beneath = this.mask.read(index), merged = tiles.get(index) ?? beneath.slice();
      drawn.forEach((value, i) => { if (value !== beneath[i]) merged[i] = value; });
      tiles.set(index, merged);
      version = Math.min(version, one.version);
    }
    if (!tiles.size) { this.journal.write(0, this.mask, new Set()); return false; } // they had arrived, or are of another image
    this.mask.begin();
    for (const [index, pixels] of tiles) { this.mask.before.set(index, this.mask.read(index)); this.mask.write(index, pixels); }
    const changed = this.mask.end();
    if (version !== this.version) {
      const theirs = this.version;
      this.version = version; // so that the journal goes on to say what it was drawn over, however often the page is loaded
      changed.forEach((index) => this.dirty.add(index));
      this.#stop(new Stale('somebody', theirs));
      return true;
    }
    this.keep(changed);
    return true;
  }

  /** The tiles of a journal that are not as the server has them; none where it is of another image. */
  #news(kept) {
    try {
      const tiles = Object.entries(kept.tiles).map(([index, found]) => [+index, unrun(found, this.mask.read(+index).length)]);
      return tiles.filter(([index, pixels]) => this.mask.read(index).some((value, i) => value !== pixels[i]));
    } catch { return []; }
  }

  /** A stroke ended: keep its tiles here at once, and send them. */
  keep(tiles) {
    tiles.forEach((index) => this.dirty.add(index));
    this.#note();
    if (!this.stopped && this.dirty.size) this.running ??= this.#run();
    this.changed();
  }

  /** Waits until the server has everything; raises what it refused it for. */
  async settled() {
    while (this.running) await this.running;
    if (this.stopped) throw this.stopped;
  }

  /** After a stale write: write ours over theirs, as a version of its own. */
  insist() {
    this.version = this.stopped.version; this.stopped = null;
    this.keep(Array.from({ length: this.mask.across * this.mask.down }, (_, index) => index)); // all of it, so that the server has what is seen
  }

  /** After a refusal that may pass: send what is not there yet. */
  again() { this.stopped = null; this.keep([]); }

  /** After a refusal: forget ours. */
  yield() { this.dirty.clear(); this.stopped = null; this.#note(); this.changed(); }

  /** Whether a refusal is of what was written by us, and acknowledged by an answer that was lost. */
  ours(error, lost) { return lost && error instanceof Stale && error.by === this.reviewer && error.version === this.version + 1; }

  async #run() {
    let lost = false;
    for (let pause = 500; this.dirty.size && !this.stopped; ) {
      this.sending = this.dirty; this.dirty = new Set();
      try {
        const body = await packed([...this.sending].map((index) => [index, this.mask.finished(index)]));
        const answer = await ask('PUT', `/api/tasks/${this.place}/draft`, { body, match: this.match });
        const said = await answer.json();
        this.version = said.version; this.sending = new Set(); this.trouble = ''; pause = 500; lost = false;
        this.wrote(said);
      } catch (error) {
        if (this.ours(error, lost)) { this.version = error.version; this.sending.forEach((index) => this.dirty.add(index)); this.sending = new Set(); lost = false; continue; }
        lost ||= !error.status || error.status >= 500; // by a proxy, for one
        this.sending.forEach((index) => this.dirty.add(index)); this.sending = new Set();
        if (final(error)) { this.trouble = ''; this.#stop(error); break; }
        this.trouble = error.status ? error.message : 'the server does not answer';
        this.changed();
        await new Promise((done) => setTimeout(done, pause)); // the strokes are safe in this browser meanwhile
        pause = Math.min(pause * 2, 10_000);
      }
      this.#note(); this.changed();
    }
    this.running = null;
  }

  #stop(error) { this.stopped = error; this.#note(); this.changed(); }
  #note() { this.kept = this.journal.write(this.version, this.mask, new Set([...this.dirty, ...this.sending])); }
}
