// The way to the server and back: every finished stroke is kept in this browser first, then on the server, in order, and never over somebody else's.

import { packed, runs, unrun } from './mask.js';

export class Stale extends Error {
  constructor(by, version) { super(`${by} changed this mask in the meantime`); this.by = by; this.version = version; }
}

/** Asks the server; raises what it said where it refused. */
export async function ask(method, path, { body, json, version, quiet } = {}) {
  const headers = {};
  if (version !== undefined) headers['If-Match'] = `"${version}"`;
  if (json !== undefined) { headers['Content-Type'] = 'application/json'; body = JSON.stringify(json); }
  const answer = await fetch(path, { method, headers, body });
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({ error: `the server answered ${answer.status}` }));
  if (answer.status === 412) throw new Stale(said.by, said.version);
  const error = new Error(said.error);
  error.status = answer.status;
  error.quiet = quiet;
  throw error;
}

export const asked = async (path) => (await ask('GET', path)).json();

/** What a task shows: its picture, ready to be drawn, and its mask. */
export async function load(place) {
  const [about, picture, drawn] = await Promise.all([
    asked(`/api/tasks/${place}`),
    ask('GET', `/api/tasks/${place}/image`).then((answer) => answer.blob()).then((blob) => createImageBitmap(blob)),
    ask('GET', `/api/tasks/${place}/mask`),
  ]);
  const data = new Uint8Array(await drawn.arrayBuffer());
  return { about, picture, data, width: +drawn.headers.get('X-Width'), height: +drawn.headers.get('X-Height'), version: +drawn.headers.get('ETag').replaceAll('"', '') };
}

/** Strokes that the server has not acknowledged, kept in this browser so that a closed tab loses none. */
class Journal {
  constructor(key) { this.key = `limner:${key}`; }
  read() { try { return JSON.parse(localStorage.getItem(this.key)); } catch { return null; } }
  write(version, mask, tiles) {
    if (!tiles.size) { try { localStorage.removeItem(this.key); } catch { /* nothing was kept there */ } return; }
    const kept = Object.fromEntries([...tiles].map((index) => [index, [...runs(mask.read(index))]]));
    try { localStorage.setItem(this.key, JSON.stringify({ version, tiles: kept })); } catch { /* full or forbidden: the server alone keeps it */ }
  }
}

/** Sends one task's strokes, one request at a time, until all are there. */
export class Saver {
  /** @param {(state: {unsaved: number, trouble: string, stale: Stale | null}) => void} changed */
  constructor(place, key, reviewer, mask, version, changed, wrote) {
    this.place = place; this.reviewer = reviewer; this.mask = mask; this.version = version; this.changed = changed; this.wrote = wrote;
    this.journal = new Journal(key);
    this.dirty = new Set(); this.sending = new Set();
    this.running = null; this.stale = null; this.trouble = '';
  }

  get unsaved() { return this.dirty.size + this.sending.size; }

  /** Strokes that an earlier page could not send: true where some were put back. */
  restore() {
    const kept = this.journal.read();
    if (!kept) return false;
    let tiles;
    try { tiles = Object.entries(kept.tiles).map(([index, found]) => [+index, unrun(found, this.mask.read(+index).length)]); } catch {
      this.journal.write(0, this.mask, new Set()); // of another image
      return false;
    }
    const news = tiles.filter(([index, pixels]) => this.mask.read(index).some((value, i) => value !== pixels[i]));
    if (!news.length) { this.journal.write(0, this.mask, new Set()); return false; } // they had arrived
    this.mask.begin();
    for (const [index, pixels] of news) { this.mask.before.set(index, this.mask.read(index)); this.mask.write(index, pixels); }
    const changed = this.mask.end();
    if (kept.version !== this.version) {
      const theirs = this.version;
      this.version = kept.version; // so that the journal goes on to say what it was drawn over, however often the page is loaded
      changed.forEach((index) => this.dirty.add(index));
      this.#stop(new Stale('somebody', theirs));
      return true;
    }
    this.keep(changed);
    return true;
  }

  /** A stroke ended: keep its tiles here at once, and send them. */
  keep(tiles) {
    tiles.forEach((index) => this.dirty.add(index));
    this.#note();
    if (!this.stale) this.running ??= this.#run();
    this.#tell();
  }

  /** Waits until the server has everything; raises Stale where it has somebody else's. */
  async settled() {
    while (this.running) await this.running;
    if (this.stale) throw this.stale;
  }

  /** After a stale write: write ours over theirs, as a version of its own. */
  insist() {
    this.version = this.stale.version; this.stale = null;
    this.keep(Array.from({ length: this.mask.across * this.mask.down }, (_, index) => index)); // all of it, so that the server has what is seen
  }

  /** After a stale write: forget ours. */
  yield() { this.dirty.clear(); this.stale = null; this.#note(); this.#tell(); }

  /** Whether a refusal is of what was written by us, and acknowledged by an answer that was lost. */
  ours(error, lost) { return lost && error instanceof Stale && error.by === this.reviewer && error.version === this.version + 1; }

  async #run() {
    let lost = false;
    for (let pause = 500; this.dirty.size && !this.stale; ) {
      this.sending = this.dirty; this.dirty = new Set();
      try {
        const body = await packed([...this.sending].map((index) => [index, this.mask.read(index)]));
        const answer = await ask('PUT', `/api/tasks/${this.place}/draft`, { body, version: this.version });
        const said = await answer.json();
        this.version = said.version; this.sending = new Set(); this.trouble = ''; pause = 500; lost = false;
        this.wrote(said);
      } catch (error) {
        if (this.ours(error, lost)) { this.version = error.version; this.sending.forEach((index) => this.dirty.add(index)); this.sending = new Set(); lost = false; continue; }
        lost ||= !error.status;
        this.sending.forEach((index) => this.dirty.add(index)); this.sending = new Set();
        if (error instanceof Stale) { this.#stop(error); break; }
        this.trouble = error.status ? error.message : 'the server does not answer';
        this.#tell();
        await new Promise((done) => setTimeout(done, pause)); // the strokes are safe in this browser meanwhile
        pause = Math.min(pause * 2, 10_000);
      }
      this.#note(); this.#tell();
    }
    this.running = null;
  }

  #stop(stale) { this.stale = stale; this.#note(); this.#tell(); }
  #note() { this.journal.write(this.version, this.mask, new Set([...this.dirty, ...this.sending])); }
  #tell() { this.changed({ unsaved: this.unsaved, trouble: this.trouble, stale: this.stale }); }
}
