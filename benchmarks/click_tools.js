// The tools of the review page for clicks.py: takes a command a line, and answers "done".

import { contourThrough } from '../src/limner/web/pages/contour.js';
import { Mask, rect } from '../src/limner/web/pages/mask.js';

const [folder] = Deno.args;
const TOLERANCE = 24; // as the page begins with
const read = (name) => Deno.readFileSync(`${folder}/${name}`);
let width, height, image, predicted, uncertain;

const TOOLS = {
  brush: (mask, { x, y, value, radius }) =>
    mask.line(x + 0.5, y + 0.5, x + 0.5, y + 0.5, radius, value),
  grow: (mask, { x, y, value }) =>
    mask.grow(x, y, value, image, rect(0, 0, width, height), TOLERANCE),
  click: (mask, { x, y, value }) => {
    const region = contourThrough(mask, predicted, uncertain, [x, y], value);
    if (region) mask.fillFound(region.found, region.area, value);
  },
};

function run(command) {
  if (command.open) {
    [width, height] = command.open;
    [image, predicted, uncertain] = ['image', 'predicted', 'uncertain'].map(read);
    return;
  }
  const mask = new Mask(width, height, read('mask'));
  mask.begin();
  TOOLS[command.tool](mask, command);
  mask.end();
  Deno.writeFileSync(`${folder}/mask`, mask.data);
}

const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream());
let rest = '';
for await (const text of lines) {
  const parts = (rest + text).split('\n');
  rest = parts.pop();
  for (const line of parts) {
    run(JSON.parse(line));
    console.log('done');
  }
}
