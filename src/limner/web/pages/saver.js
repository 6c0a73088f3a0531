// Sends one task's strokes, one request at a time, until the server has all, and never over
// somebody else's.

import { ask, isFinal, RetryPause, Stale } from './api.js';
import { decodeRuns, deflateTiles } from './runs.js';

export class Saver {
  /**
   * @param {object} options
   * @param {number} options.place the task's place in the order
   * @param {import('./journal.js').Journal} options.journal
   * @param {string} options.reviewer who draws
   * @param {import('./mask.js').Mask} options.mask
   * @param {string} options.shown what the server must still show for a write to count
   * @param {number} options.version the mask's version on the server
   * @param {() => void} options.changed is called when strokes go out, arrive or are refused
   * @param {(answer: object) => void} options.wrote is called with each answer to a write
   */
  constructor(options) {
    Object.assign(this, options);
    this.dirty = new Set();
    this.sending = new Set();
    this.running = null;
    this.trouble = '';
    this.kept = true; // whether this browser keeps what the server has not
    this.stopped = null; // the error of a refusal that is final: Stale where somebody else wrote
  }

  get unsaved() {
    return this.dirty.size + this.sending.size;
  }

  /** What the server must have for a write of ours to be one after what was seen. */
  get match() {
    return `${this.shown}-${this.version}`;
  }

  /** Puts back strokes that earlier pages could not send; whether there were some. */
  restore() {
    const journals = this.journal.found.splice(0).filter((journal) => journal);
    if (!journals.length) return false;
    const [tiles, version] = this.#merge(journals);
    if (!tiles.size) {
      // They had arrived, or are of another image
      this.journal.write(0, this.mask, new Set());
      return false;
    }
    this.mask.begin();
    for (const [index, pixels] of tiles) {
      this.mask.before.set(index, this.mask.read(index));
      this.mask.write(index, pixels);
    }
    const changed = this.mask.end();
    if (version === this.version) {
      this.keep(changed);
      return true;
    }
    const theirs = this.version;
    // The journal goes on to say what it was drawn over, however often the page is loaded
    this.version = version;
    changed.forEach((index) => this.dirty.add(index));
    this.#stop(new Stale('somebody', theirs));
    return true;
  }

  /** The tiles of several journals laid over each other, and the lowest version of them. */
  #merge(journals) {
    const tiles = new Map();
    let version = Infinity;
    for (const journal of journals) {
      for (const [index, drawn] of this.#differing(journal)) {
        const beneath = this.mask.read(index), merged = tiles.get(index) ?? beneath.slice();
        drawn.forEach((value, i) => {
          if (value !== beneath[i]) merged[i] = value;
        });
        tiles.set(index, merged);
        version = Math.min(version, journal.version);
      }
    }
    return [tiles, version];
  }

  /** The tiles of a journal that the server has otherwise; none where it is of another image. */
  #differing(journal) {
    try {
      return Object.entries(journal.tiles)
        .map(([index, runs]) => [+index, decodeRuns(runs, this.mask.read(+index).length)])
        .filter(([index, pixels]) => {
          const current = this.mask.read(index);
          return current.some((value, i) => value !== pixels[i]);
        });
    } catch {
      return [];
    }
  }

  /** A stroke ended: keeps its tiles here at once, and sends them. */
  keep(tiles) {
    tiles.forEach((index) => this.dirty.add(index));
    this.#writeJournal();
    if (!this.stopped && this.dirty.size) this.running ??= this.#run();
    this.changed();
  }

  /** Waits until the server has everything; raises what it refused it for. */
  async settled() {
    while (this.running) await this.running;
    if (this.stopped) throw this.stopped;
  }

  /** After a stale write: writes all of ours over theirs, as a version of its own. */
  insist() {
    this.version = this.stopped.version;
    this.stopped = null;
    const { across, down } = this.mask;
    this.keep(Array.from({ length: across * down }, (_, index) => index));
  }

  /** After a refusal that may pass: sends what the server does not have. */
  again() {
    this.stopped = null;
    this.keep([]);
  }

  /** After a refusal: forgets ours. */
  yield() {
    this.dirty.clear();
    this.stopped = null;
    this.#writeJournal();
    this.changed();
  }

  /** Whether a refusal is of a write of ours whose answer was lost. */
  isOurs(error, lost) {
    return lost && error instanceof Stale && error.by === this.reviewer &&
      error.version === this.version + 1;
  }

  async #run() {
    const pause = new RetryPause();
    let lost = false; // whether an answer may have been lost, by a proxy for one
    while (this.dirty.size && !this.stopped) {
      this.sending = this.dirty;
      this.dirty = new Set();
      try {
        await this.#send();
        pause.reset();
        lost = false;
      } catch (error) {
        this.sending.forEach((index) => this.dirty.add(index));
        this.sending = new Set();
        if (this.isOurs(error, lost)) {
          this.version = error.version;
          lost = false;
          continue;
        }
        lost ||= !error.status || error.status >= 500;
        if (isFinal(error)) {
          this.trouble = '';
          this.#stop(error);
          break;
        }
        this.trouble = error.status ? error.message : 'the server does not answer';
        this.changed();
        // The strokes are safe in this browser meanwhile
        await pause.wait();
      }
      this.#writeJournal();
      this.changed();
    }
    this.running = null;
  }

  async #send() {
    const tiles = [...this.sending].map((index) => [index, this.mask.finished(index)]);
    const options = { body: await deflateTiles(tiles), match: this.match };
    const answer = await (await ask('PUT', `api/tasks/${this.place}/draft`, options)).json();
    this.version = answer.version;
    this.sending = new Set();
    this.trouble = '';
    this.wrote(answer);
  }

  #stop(error) {
    this.stopped = error;
    this.#writeJournal();
    this.changed();
  }

  #writeJournal() {
    const tiles = new Set([...this.dirty, ...this.sending]);
    this.kept = this.journal.write(this.version, this.mask, tiles);
  }
}
