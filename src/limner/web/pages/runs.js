// Pixels of tiles, packed: as runs in this browser, deflated on the way to the server.

/** Pixels as runs: 24 bits of length, 8 of value. */
export function encodeRuns(pixels) {
  const runs = [];
  for (let i = 0; i < pixels.length;) {
    const value = pixels[i], start = i;
    while (i < pixels.length && pixels[i] === value && i - start < 0xffffff) i++;
    runs.push((i - start) * 256 + value);
  }
  return Uint32Array.from(runs);
}

/** The pixels that `encodeRuns` packed. */
export function decodeRuns(runs, length) {
  const pixels = new Uint8Array(length);
  let at = 0;
  for (const run of runs) {
    pixels.fill(run & 255, at, at + (run >>> 8));
    at += run >>> 8;
  }
  if (at !== length) throw new Error(`runs of ${at} pixels for a tile of ${length}`);
  return pixels;
}

/** Tiles on their way to the server: of each its index and its pixels, deflated. */
export async function deflateTiles(tiles) {
  const size = tiles.reduce((sum, [, pixels]) => sum + 4 + pixels.length, 0),
    body = new Uint8Array(size),
    heads = new DataView(body.buffer);
  let at = 0;
  for (const [index, pixels] of tiles) {
    heads.setUint32(at, index, true);
    body.set(pixels, at + 4);
    at += 4 + pixels.length;
  }
  return new Uint8Array(
    await new Response(new Blob([body]).stream().pipeThrough(new CompressionStream('deflate')))
      .arrayBuffer(),
  );
}
