// What the model itself would draw if its border went through a click: the pixels around it that
// are no less like the class than the clicked one, by the map of uncertainty.

import { flood, rect } from './mask.js';

const LEAST_PX = 10; // the least radius
const REACH = 2.5; // of the radius, in distances from the click to the class
const MOST_PX = 1024; // the most radius

/**
 * Finds the pixels that a click gives a class.
 * @param {import('./mask.js').Mask} mask as it is now
 * @param {Uint8Array} predicted the classes as the model drew them
 * @param {Uint8Array} uncertain its uncertainty, 255 where it cannot decide
 * @param {[number, number]} click a pixel
 * @param {number} value the class
 * @returns {{found: Uint8Array, area: object} | null} pixels of an area, row by row; null where the
 *   click is on the class already
 */
export function contourThrough(mask, predicted, uncertain, [x, y], value) {
  const { data, width, height } = mask, before = data[y * width + x];
  if (before === value) return null;
  const radius = Math.min(MOST_PX, Math.max(LEAST_PX, REACH * distanceTo(mask, x, y, value)));
  const reach = Math.ceil(radius);
  const area = rect(
    Math.max(0, x - reach),
    Math.max(0, y - reach),
    Math.min(width, x + reach + 1),
    Math.min(height, y + reach + 1),
  );
  // From 0, surely another class, to 510, surely this one
  const likeness = (at) => predicted[at] === value ? 510 - uncertain[at] : uncertain[at];
  const least = likeness(y * width + x);
  const found = flood(
    area.right - area.left,
    area.bottom - area.top,
    x - area.left,
    y - area.top,
    (i, j) => {
      const at = (area.top + j) * width + area.left + i;
      return data[at] === before && likeness(at) >= least &&
        Math.hypot(area.left + i - x, area.top + j - y) <= radius;
    },
  );
  return { found, area };
}

/** How far the nearest pixel of a class is; the most radius where there is none within it. */
function distanceTo({ data, width, height }, x, y, value) {
  let nearest = MOST_PX ** 2;
  // Rows that are farther than what was found need no look
  for (let dy = 0; dy * dy < nearest; dy++) {
    for (const row of dy ? [y - dy, y + dy] : [y]) {
      if (row < 0 || row >= height) continue;
      const reach = Math.ceil(Math.sqrt(nearest - dy * dy));
      for (let i = Math.max(0, x - reach); i < Math.min(width, x + reach + 1); i++) {
        if (data[row * width + i] === value) {
          nearest = Math.min(nearest, (i - x) ** 2 + dy * dy);
        }
      }
    }
  }
  return Math.sqrt(nearest);
}
