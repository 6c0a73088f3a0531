// What the review page knows: the review as a whole, the image that is shown, and what is on its
// way.

/** The element of an id. */
export const $ = (id) => document.getElementById(id);

export const state = {
  /** What the server says of the review as a whole. */
  review: null,
  /** A letter for each task: what became of it. */
  letters: '',
  /** The server's write count that the letters belong to. */
  writes: 0,
  /** Whether the server shows another review by now. */
  outdated: false,
  /** { place, message } of an image that cannot be shown. */
  broken: null,
  /** The session that is shown. */
  current: null,
  /** Its place in the order, also while it is loaded or cannot be shown. */
  place: 0,
  /** Counts up with each image that is asked for, so that an answer that comes late is dropped. */
  request: 0,
  /**
   * How images are shown: { windows, gamma, channel }; null as they are read. `windows` are black
   * and white by channel, and by '' of colours together.
   */
  display: null,
  /** The class that is drawn. */
  value: 1,
  /** By place: images that are open, with their strokes to undo. */
  sessions: new Map(),
  /** Sessions whose verdict is on its way. */
  deciding: new Set(),
  /** By place: messages of strokes and verdicts that were refused after the image was left. */
  refused: new Map(),
};

const IDLE_S = 30; // a longer silence counts as this much work

/** Whether the person may change the mask that is shown. */
export function mayDraw() {
  const { current, outdated } = state;
  return current !== null && !outdated && !current.owner && !current.task.barred &&
    !current.saver.stopped && !current.deciding && !current.filling;
}

/** Adds the time since the person last did anything to a session's working time. */
export function addWorkTime(session) {
  const time = performance.now();
  session.spent += Math.min(IDLE_S, (time - session.seen) / 1000);
  session.seen = time;
}

/** Remembers a refusal of a session that is not shown any more. */
export function remember(session, error) {
  state.refused.set(session.place, `${session.task.name}: ${error.message}`);
}
