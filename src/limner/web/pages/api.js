// Requests to the server, and what its refusals mean.

/** A write that was refused because somebody else wrote first. */
export class Stale extends Error {
  constructor(by, version) {
    super(`${by} changed this mask in the meantime.`);
    this.by = by;
    this.version = version;
  }
}

/** Sends a request; raises Stale, or an Error with a status, where the server refuses it. */
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

/** What a task shows: its image, ready to be drawn, and its mask as class indices. */
export async function loadTask(place) {
  const [task, image, mask] = await Promise.all([
    get(`api/tasks/${place}`),
    ask('GET', `api/tasks/${place}/image`),
    ask('GET', `api/tasks/${place}/mask`),
  ]);
  const bitmap = await createImageBitmap(await image.blob());
  const pixels = new Uint8Array(await mask.arrayBuffer());
  // A proxy that compresses marks the ETag as weak
  const etag = mask.headers.get('ETag').replace(/^W\//, '').replaceAll('"', '');
  const [edition, basis, version] = etag.split('-');
  // The files were changed between the two requests
  if (image.headers.get('X-Basis') !== basis) return loadTask(place);
  const width = +mask.headers.get('X-Width'), height = +mask.headers.get('X-Height');
  return { task, bitmap, pixels, width, height, edition, basis, version: +version };
}
