// The page of the service: an image is sent as it is, and its mask comes back as polygons.
const find = (id) => document.getElementById(id);
const COLOURS = find('page').dataset.palette.split(' ');
const SVG = 'http://www.w3.org/2000/svg';
let file = null; // the image on the stage
let previewed = null; // the image that the service was asked to show
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

async function ask(accept, route = 'v1/segment') {
  const response = await fetch(`${route}?${options()}`, {
    method: 'POST',
    body: file,
    headers: { Accept: accept, 'Content-Type': file.type || 'application/octet-stream' },
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
    const result = await (await ask('application/json')).json();
    const png = await (await ask('image/png')).blob();
    if (request === requests) draw(result, png);
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

function draw(result, png) {
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
  URL.revokeObjectURL(find('save').href);
  find('save').href = URL.createObjectURL(png);
  find('save').hidden = false;
  opacity();
  const dice = result.predicted_dice === null
    ? ''
    : `predicted Dice ${result.predicted_dice.toFixed(2)} · `;
  const unusual = result.unusual ? ' · unlike the training images' : '';
  say(
    `${dice}${result.width}×${result.height} px · ${
      Math.round(result.timing_ms.work)
    } ms${unusual}`,
  );
}

function opacity() {
  for (const path of find('mask').children) {
    path.setAttribute('fill-opacity', find('opacity').value / 100);
  }
}

function take(image) {
  if (!image) return;
  file = image;
  clear();
  URL.revokeObjectURL(find('image').src);
  find('image').src = URL.createObjectURL(image);
  find('hint').hidden = true;
  find('stage').hidden = false;
  segment();
}

// Browsers show no TIFF and no DICOM: then the service shows how it reads them
find('image').addEventListener('error', async () => {
  const shown = file;
  if (previewed === shown) return;
  previewed = shown;
  try {
    const picture = await (await ask('image/jpeg', 'v1/preview')).blob();
    if (shown === file) find('image').src = URL.createObjectURL(picture);
  } catch {
    // What is wrong with it is said where its mask is asked for
  }
});
find('model').addEventListener('change', segment);
find('threshold').addEventListener('change', segment);
find('opacity').addEventListener('input', opacity);
listenForImages(take);
