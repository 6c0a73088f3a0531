// Requests to the server, and what its refusals mean.

import { TiledPicture } from './picture.js';

/** A write that was refused because somebody else wrote first. */
export class Stale extends Error {
  constructor(by, version) {
    super(`${by} changed this mask in the meantime.`);
    this.by = by;
    this.version = version;
  }
}

/**
 * Sends a request; raises Stale, or an Error with a status and the answer's content, where the
 * server refuses it.
 */
export async function ask(method, path, { body, json, match } = {}) {
  const headers = {};
  if (match !== undefined) headers['If-Match'] = `"${match}"`;
  if (json !== undefined) {
    headers['Content-Type'] = 'application/json';
    body = JSON.stringify(json);
  }
  const response = await fetch(path, { method, headers, body });
  if (response.ok) return response;
  const unknown = { error: `the server answered ${response.status}` };
  const content = await response.json().catch(() => unknown);
  if (response.status === 412) throw new Stale(content.by, content.version);
  const error = new Error(content.error);
  error.status = response.status;
  error.details = content;
  throw error;
}

/** The JSON at a path. */
export const get = async (path) => (await ask('GET', path)).json();

/** Whether asking again would be answered in the same way. */
export const isFinal = (error) =>
  error instanceof Stale ||
  (error.status >= 400 && error.status < 500 && ![401, 408, 429].includes(error.status));

/** The pause between tries: half a second, doubled each time, ten seconds at most. */
export class RetryPause {
  constructor() {
    this.reset();
  }

  reset() {
    this.ms = 500;
  }

  async wait() {
    await new Promise((done) => setTimeout(done, this.ms));
    this.ms = Math.min(this.ms * 2, 10_000);
  }
}

const HEAT = [255, 0, 128];

/** What the model drew in a task, and how uncertain it was, as classes and as 0 to 255. */
export async function loadModelMaps(place) {
  const [{ data: predicted }, { image: { data } }] = await Promise.all([
    loadMask(place, 'predicted'),
    loadUncertainty(place),
  ]);
  const uncertain = new Uint8Array(predicted.length);
  if (data.length !== 4 * predicted.length) throw new Error('the map has another size');
  for (let at = 0; at < uncertain.length; at++) uncertain[at] = data[4 * at];
  return { predicted, uncertain };
}

/** The map of uncertainty on a canvas, and its pixels. */
async function loadUncertainty(place) {
  const answer = await ask('GET', `api/tasks/${place}/uncertainty`);
  const grey = await createImageBitmap(await answer.blob());
  const canvas = new OffscreenCanvas(grey.width, grey.height), context = canvas.getContext('2d');
  context.drawImage(grey, 0, 0);
  return { canvas, context, image: context.getImageData(0, 0, grey.width, grey.height) };
}

/** The map of uncertainty of a task, as a colour that is the stronger the less is certain. */
export async function loadHeat(place) {
  const { canvas, context, image } = await loadUncertainty(place), { data } = image;
  for (let at = 0; at < data.length; at += 4) {
    data[at + 3] = data[at];
    [data[at], data[at + 1], data[at + 2]] = HEAT;
  }
  context.putImageData(image, 0, 0);
  return canvas.transferToImageBitmap();
}

/** A large image of a task, whose tiles are loaded when they are seen. */
function tilesOf(place, [height, width], came) {
  const load = async (level, row, column) => {
    const path = `api/tasks/${place}/tiles/${level}/${row}/${column}`;
    return createImageBitmap(await (await ask('GET', path)).blob());
  };
  return new TiledPicture(width, height, load, came);
}

/** How an image is to be shown, as the server takes it. */
function queryOf({ windows, gamma, channel }) {
  const query = new URLSearchParams({ gamma });
  if (channel !== '') query.set('channel', channel);
  for (const [name, [low, high]] of Object.entries(windows)) {
    query.append('window', `${name}:${low}:${high}`);
  }
  return query;
}

/** The image of a task as it is read, or as `display` says, and the fingerprint of its files. */
export async function loadPicture(place, display) {
  const query = display ? `?${queryOf(display)}` : '';
  const answer = await ask('GET', `api/tasks/${place}/image${query}`);
  return {
    bitmap: await createImageBitmap(await answer.blob()),
    basis: answer.headers.get('X-Basis'),
  };
}

/**
 * What a task shows: its image, ready to be drawn, and its mask as class indices. Of a large image
 * tiles and rows of the mask come later, each with a call of `shown.came()` or
 * `shown.rows(first, end)`; `filled` is the promise of all rows.
 */
export async function loadTask(place, display, shown) {
  const task = await get(`api/tasks/${place}`);
  const [mask, image] = task.tiled
    ? largeTask(place, task, shown)
    : await Promise.all([loadMask(place), loadPicture(place, display)]);
  const [edition, basis, version] = mask.etag.split('-');
  const { bitmap } = image;
  // The files were changed between the two requests
  if (image.basis !== basis) return loadTask(place, display, shown);
  const { data: pixels, width, height, filled } = mask;
  return { task, bitmap, pixels, width, height, edition, basis, version: +version, filled };
}

// A proxy that compresses marks the ETag as weak
const bare = (etag) => etag.replace(/^W\//, '').replaceAll('"', '');

/**
 * The mask of a task as the server has it, or as it was predicted: class indices, their size, and
 * the ETag.
 */
export async function loadMask(place, which = 'mask') {
  const answer = await ask('GET', `api/tasks/${place}/${which}`);
  return {
    data: new Uint8Array(await answer.arrayBuffer()),
    width: +answer.headers.get('X-Width'),
    height: +answer.headers.get('X-Height'),
    etag: bare(answer.headers.get('ETag')),
    filled: null,
  };
}

/** A large mask and its image, of which nothing has come yet. */
function largeTask(place, task, shown) {
  const [height, width] = task.tiled, etag = bare(task.etag);
  const data = new Uint8Array(width * height), basis = etag.split('-')[1];
  const bitmap = tilesOf(place, task.tiled, shown.came);
  // People see the image first: the server has few cores for both
  const filled = bitmap.ready.then(() => fill(place, etag, data, width, shown.rows));
  return [{ data, width, height, etag, filled }, { bitmap, basis }];
}

/** Copies a mask into an array as it comes. */
async function fill(place, etag, data, width, rows) {
  const answer = await ask('GET', `api/tasks/${place}/mask`);
  if (bare(answer.headers.get('ETag')) !== etag) {
    throw new Error('The mask was changed while it was loaded. Load the page again.');
  }
  const reader = answer.body.getReader();
  let at = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    data.set(value, at);
    rows(Math.floor(at / width), Math.ceil((at + value.length) / width));
    at += value.length;
  }
  if (at !== data.length) throw new Error('the mask did not come whole');
}
