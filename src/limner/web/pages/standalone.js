// The page of an exported model: images are segmented in the browser, and are sent nowhere.
const find = (id) => document.getElementById(id);
const OPAQUE = 255;
let requests = 0; // of several images the last one counts

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

async function open() {
  // Nothing is fetched, so that the page works from a folder too
  const script = new Blob([bytes(RUNTIME.script)], { type: 'text/javascript' });
  const ort = await import(URL.createObjectURL(script));
  ort.env.wasm.wasmBinary = bytes(RUNTIME.wasm);
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(bytes(MODEL.graph), {
    executionProviders: ['wasm'],
  });
  // An image that was dropped meanwhile has a text of its own there
  if (requests === 0) say('');
  return { ort, session };
}

function say(text, bad = false) {
  find('status').textContent = text;
  find('status').className = bad ? 'bad' : '';
}

// The image upright, on the canvas of the page; its colours without transparency.
async function show(file) {
  const bitmap = await createImageBitmap(file, {
    imageOrientation: 'from-image',
    colorSpaceConversion: 'none',
    premultiplyAlpha: 'none',
  });
  const canvas = find('image');
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  find('hint').hidden = true;
  find('stage').hidden = false;
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const colours = new Uint8Array(canvas.width * canvas.height * 3);
  for (let pixel = 0; pixel < colours.length / 3; pixel++) {
    colours.set(data.subarray(4 * pixel, 4 * pixel + 3), 3 * pixel);
  }
  return colours;
}

// The class index of each pixel, from the values that the graph gives them.
function toClassIndex(mask, pixels) {
  const depth = mask.length / pixels;
  const values = MODEL.values.map((value) => [value].flat());
  const index = new Map(values.map((value, position) => [value.join(), position]));
  const known = depth === 1 ? values.map(([value]) => value) : null;
  if (known) {
    const table = new Uint8Array(256);
    known.forEach((value, position) => table[value] = position);
    return Uint8Array.from(mask, (value) => table[value]);
  }
  return Uint8Array.from(
    { length: pixels },
    (_, pixel) => index.get(mask.subarray(depth * pixel, depth * (pixel + 1)).join()),
  );
}

// A picture of one colour for each class; a colour of four numbers has its own opacity.
function paint(canvas, classIndex, width, colours) {
  canvas.width = width;
  canvas.height = classIndex.length / width;
  const picture = new ImageData(width, canvas.height);
  classIndex.forEach((index, pixel) => picture.data.set(colours[index], 4 * pixel));
  canvas.getContext('2d').putImageData(picture, 0, 0);
}

async function savePng(classIndex, width) {
  const canvas = document.createElement('canvas');
  const colours = MODEL.values.map((value) => {
    const [red, green = red, blue = red] = [value].flat();
    return [red, green, blue, OPAQUE];
  });
  paint(canvas, classIndex, width, colours);
  const png = await new Promise((done) => canvas.toBlob(done));
  URL.revokeObjectURL(find('save').href);
  find('save').href = URL.createObjectURL(png);
  find('save').hidden = false;
}

function list(classIndex) {
  const counts = new Array(MODEL.names.length).fill(0);
  for (const index of classIndex) counts[index]++;
  const rows = MODEL.names.flatMap((name, index) => {
    if (name === 'background') return [];
    const row = document.createElement('tr');
    const share = `${(100 * counts[index] / classIndex.length).toFixed(1)} %`;
    for (const text of [name, counts[index].toLocaleString(), share]) {
      const cell = document.createElement('td');
      cell.textContent = text;
      cell.className = row.childElementCount ? 'number' : '';
      row.append(cell);
    }
    const swatch = document.createElement('i');
    swatch.style.background = `rgb(${MODEL.colours[index].slice(0, 3).join()})`;
    row.firstChild.prepend(swatch);
    return [row];
  });
  find('classes').tBodies[0].replaceChildren(...rows);
  find('classes').hidden = false;
}

async function segment(file) {
  const request = ++requests;
  find('classes').hidden = find('save').hidden = true;
  find('mask').width = 0;
  say('Working …');
  try {
    const colours = await show(file).catch(() => {
      throw new Error('this is no image that the browser can read: PNG, JPEG, WebP or BMP.');
    });
    const { ort, session } = await opened;
    // The text is shown before the network takes the page's time
    await new Promise((done) => setTimeout(done, 20));
    const { width, height } = find('image');
    const started = performance.now();
    const image = new ort.Tensor('uint8', colours, [height, width, 3]);
    const { mask } = await session.run({ image }, ['mask']);
    if (request !== requests) return;
    const classIndex = postprocess(
      toClassIndex(mask.data, width * height),
      width,
      MODEL.names,
      MODEL.postprocessing,
    );
    paint(find('mask'), classIndex, width, MODEL.colours);
    list(classIndex);
    await savePng(classIndex, width);
    say(`${width}×${height} px · ${Math.round(performance.now() - started)} ms`);
  } catch (error) {
    if (request === requests) say(error.message || String(error), true);
  }
}

function opacity() {
  find('mask').style.opacity = find('opacity').value / 100;
}

function take(file) {
  if (file) segment(file);
}

const opened = open();
opened.catch((error) => say(`The model cannot be opened in this browser: ${error.message}`, true));
find('name').textContent = MODEL.title;
opacity();
find('opacity').addEventListener('input', opacity);
listenForImages(take);
