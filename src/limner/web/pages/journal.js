// Strokes that the server has not acknowledged, kept in this browser, so that a closed tab loses
// none.

import { encodeRuns } from './runs.js';

const bytes = [...crypto.getRandomValues(new Uint8Array(8))];
const PAGE = bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('');
const ANSWER_MS = 500; // in which open pages answer

const pages = new BroadcastChannel('limner');
pages.onmessage = ({ data }) => {
  if (data === 'who') pages.postMessage(PAGE);
};

/** The other pages of this browser that are open: those that answer. */
async function openPages() {
  const found = new Set(), answers = new BroadcastChannel('limner');
  answers.onmessage = ({ data }) => found.add(data);
  answers.postMessage('who');
  await new Promise((done) => setTimeout(done, ANSWER_MS));
  answers.close();
  found.delete(PAGE);
  return found;
}

/** The journal of one task. Each page has its own, since two may show one task. */
export class Journal {
  constructor(key) {
    this.base = `limner:${key}`;
    this.key = `${this.base}#${PAGE}`;
    this.found = []; // what was read
    this.taken = []; // the keys of closed pages, which the next write removes
  }

  #pageOf(key) {
    return key.slice(this.base.length + 1);
  }

  #isJournal(key) {
    // Earlier versions kept one without a page
    return key === this.base ||
      (key.startsWith(`${this.base}#`) && /^[0-9a-f]{16}$/.test(this.#pageOf(key)));
  }

  /**
   * Reads what this page kept, and pages that are closed by now; whether there were others.
   * Theirs stay until the next write of this one.
   */
  async read() {
    try {
      let keys = Object.keys(localStorage).filter((key) => this.#isJournal(key));
      if (keys.some((key) => key !== this.key)) {
        const open = await openPages();
        keys = keys.filter((key) => !open.has(this.#pageOf(key)));
      }
      for (const key of keys) {
        try {
          this.found.push(JSON.parse(localStorage.getItem(key)));
        } catch { /* it is not a journal of ours */ }
      }
      this.taken = keys.filter((key) => key !== this.key);
    } catch { /* the browser keeps nothing */ }
    return this.taken.length > 0;
  }

  /**
   * Keeps tiles of a mask; whether they are kept. The browser's storage may be full or forbidden,
   * and then the server alone can keep them.
   */
  write(version, mask, tiles) {
    try {
      if (!tiles.size) localStorage.removeItem(this.key);
      else localStorage.setItem(this.key, this.#content(version, mask, tiles));
      for (const key of this.taken.splice(0)) localStorage.removeItem(key);
      return true;
    } catch {
      return !tiles.size;
    }
  }

  #content(version, mask, tiles) {
    const entries = [...tiles].map((index) => [index, [...encodeRuns(mask.finished(index))]]);
    return JSON.stringify({ version, tiles: Object.fromEntries(entries) });
  }
}
