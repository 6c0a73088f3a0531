// The page of the service: a file is sent as it is, and its masks come back as polygons.
const find = (id) => document.getElementById(id);
const COLOURS = find('page').dataset.palette.split(' ');
const SVG = 'http://www.w3.org/2000/svg';
let file = null; // the file on the stage
let answer = null; // what was drawn in its images
let previewed = null; // the number of the image that the service was asked to show
let requests = 0; // of several answers that of the last request counts

function options() {
  const chosen = new URLSearchParams({ model: find('model').value });
  if (find('threshold').value) chosen.set('threshold', find('threshold').value);
  return chosen;
}

function say(text, bad = false) {
  find('status').textContent = text;
  find('status').className = bad ? 'bad' : '';
}

// What the browser calls the file, where that is an image; volumes have many names
const typeOf = ({ type }) => type.startsWith('image/') ? type : 'application/octet-stream';

async function ask(accept, route = 'v1/segment', page = '') {
  const response = await fetch(`${route}?${options()}${page && `&page=${page}`}`, {
    method: 'POST',
    body: file,
    headers: { Accept: accept, 'Content-Type': typeOf(file) },
  });
  if (!response.ok) {
    const content = await response.json().catch(() => ({
      error: `the service answered ${response.status}.`,
    }));
    throw new Error(content.error);
  }
  return response;
}

async function segment() {
  if (!file) return;
  const request = ++requests;
  say('Working …');
  try {
    const described = await (await ask('application/json')).json();
    const accept = described.images ? 'application/zip' : 'image/png';
    const saved = await (await ask(accept)).blob();
    if (request === requests) show(described, saved);
  } catch (error) {
    if (request !== requests) return;
    clear();
    say(error.message || 'the service cannot be reached.', true);
  }
}

function clear() {
  find('mask').replaceChildren();
  find('classes').hidden = find('save').hidden = true;
}

function show(described, saved) {
  answer = described;
  const count = answer.images?.length ?? 1;
  find('page-of').hidden = count < 2;
  find('number').max = count;
  find('count').textContent = `of ${count}`;
  URL.revokeObjectURL(find('save').href);
  find('save').href = URL.createObjectURL(saved);
  find('save').download = count < 2 ? 'mask.png' : 'masks.zip';
  find('save').textContent = count < 2 ? 'Save the mask as PNG' : 'Save the masks as PNG in a zip';
  turn();
}

// Shows the image of a stack that has the number
function turn() {
  const { min, max, valueAsNumber } = find('number');
  const number = Math.min(Math.max(Math.round(valueAsNumber) || 1, min), max);
  find('number').value = number;
  if (answer.images) preview(number);
  draw(answer.images?.[number - 1] ?? answer);
}

function draw(result) {
  clear();
  find('mask').setAttribute('viewBox', `0 0 ${result.width} ${result.height}`);
  const rows = [];
  result.classes.forEach((one, index) => {
    const colour = COLOURS[index % COLOURS.length];
    const path = document.createElementNS(SVG, 'path');
    path.setAttribute(
      'd',
      one.polygons.map((ring) => `M${ring.map((point) => point.join(' ')).join('L')}Z`).join(''),
    );
    path.setAttribute('fill', colour);
    path.setAttribute('stroke', colour);
    find('mask').append(path);
    const row = document.createElement('tr');
    const swatch = document.createElement('i');
    swatch.style.background = colour;
    for (
      const text of [one.class, one.area_px.toLocaleString(), `${(100 * one.share).toFixed(1)} %`]
    ) {
      const cell = document.createElement('td');
      cell.textContent = text;
      cell.className = row.childElementCount ? 'number' : '';
      row.append(cell);
    }
    row.firstChild.prepend(swatch);
    rows.push(row);
  });
  find('classes').tBodies[0].replaceChildren(...rows);
  find('classes').hidden = false;
  find('save').hidden = false;
  opacity();
  const dice = result.predicted_dice === null
    ? ''
    : `predicted Dice ${result.predicted_dice.toFixed(2)} · `;
  const unusual = result.unusual ? ' · unlike the training images' : '';
  say(
    `${dice}${result.width}×${result.height} px · ${
      Math.round(answer.timing_ms.work)
    } ms${unusual}`,
  );
}

async function preview(number) {
  const asked = `${number}`;
  if (previewed === asked) return;
  previewed = asked;
  const shown = file;
  try {
    const picture = await (await ask('image/jpeg', 'v1/preview', asked)).blob();
    if (shown !== file || previewed !== asked) return;
    URL.revokeObjectURL(find('image').src);
    find('image').src = URL.createObjectURL(picture);
  } catch {
    // What is wrong with it is said where its mask is asked for
  }
}

function opacity() {
  for (const path of find('mask').children) {
    path.setAttribute('fill-opacity', find('opacity').value / 100);
  }
}

function take(image) {
  if (!image) return;
  file = image;
  previewed = null;
  find('page-of').hidden = true;
  find('number').value = 1;
  clear();
  URL.revokeObjectURL(find('image').src);
  find('image').src = URL.createObjectURL(image);
  find('hint').hidden = true;
  find('stage').hidden = false;
  segment();
}

// Browsers show no TIFF, no DICOM and no stack: then the service shows how it reads them
find('image').addEventListener('error', () => preview(1));
find('number').addEventListener('change', turn);
find('model').addEventListener('change', segment);
find('threshold').addEventListener('change', segment);
find('opacity').addEventListener('input', opacity);
listenForImages(take);
