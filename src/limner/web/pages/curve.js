// The learning curve of a run: validation Dice by epoch.

import { svg } from './elements.js';

const WIDTH = 640, HEIGHT = 200, LEFT = 40, BOTTOM = 24, TOP = 10, RIGHT = 50;

/** Draws validations, of which each has an epoch and a mean Dice; `epochs` is the last one. */
export function drawCurve(validations, epochs) {
  const last = validations.at(-1);
  const end = Math.max(epochs, last.epoch, 2);
  const best = Math.max(...validations.map((each) => each.mean_dice));
  const x = (epoch) => LEFT + (epoch - 1) / (end - 1) * (WIDTH - LEFT - RIGHT);
  const y = (dice) => TOP + (1 - dice) * (HEIGHT - TOP - BOTTOM);
  const points = validations.map((each) => `${x(each.epoch).toFixed(1)},${y(each.mean_dice)}`);
  const text = (content, left, top, anchor) =>
    svg('text', { x: left, y: top, 'text-anchor': anchor }, content);
  return svg(
    'svg',
    {
      class: 'curve',
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      role: 'img',
      'aria-label': `validation Dice ${last.mean_dice.toFixed(3)} at epoch ${last.epoch}, ` +
        `${best.toFixed(3)} at best`,
    },
    [0, 0.25, 0.5, 0.75, 1].map((dice) => [
      svg('line', { x1: LEFT, x2: WIDTH - RIGHT, y1: y(dice), y2: y(dice) }),
      text(dice.toString(), LEFT - 6, y(dice) + 4, 'end'),
    ]).flat(),
    text(`Dice on validation images, epoch ${last.epoch} of ${end}`, LEFT, HEIGHT - 4, 'start'),
    svg('polyline', { points: points.join(' ') }),
    validations.map((each) =>
      svg(
        'circle',
        { cx: x(each.epoch), cy: y(each.mean_dice), r: validations.length > 60 ? 1 : 3 },
        svg('title', {}, `epoch ${each.epoch}: ${each.mean_dice.toFixed(4)}`),
      )
    ),
    text(last.mean_dice.toFixed(3), x(last.epoch) + 7, y(last.mean_dice) + 4, 'start'),
  );
}
