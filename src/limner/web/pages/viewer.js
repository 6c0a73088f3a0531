// A predicted mask, large: with the threshold as a slider, and the mask of another model beside it.

import { ask } from './api.js';
import { element } from './elements.js';

const COLOUR = [0, 114, 178], EDGE = [255, 255, 255];
const TINT = 0.3;
const AS_CHOSEN = 'as the model chose';

/** Opens a record of a gallery, from which people go to its neighbours. */
export function openViewer(gallery, number) {
  const viewer = new Viewer(gallery, number);
  document.body.append(viewer.dialog);
  viewer.dialog.showModal();
  viewer.show();
}

class Viewer {
  constructor(gallery, number) {
    this.gallery = gallery;
    this.number = number;
    this.title = element('h2');
    this.picture = element('canvas', { role: 'img' });
    this.other = element('img', { alt: 'the mask of the other model' });
    this.slider = element('input', { type: 'range', min: '1', max: '99', value: '50' });
    this.words = element('output', {}, AS_CHOSEN);
    this.slider.addEventListener('input', () => this.draw());
    this.threshold = element(
      'span',
      { class: 'threshold' },
      element('label', {}, 'Threshold ', this.slider),
      this.words,
      element('button', { type: 'button', onclick: () => this.show() }, 'Reset'),
    );
    this.note = element(
      'p',
      { class: 'faint' },
      'The slider shows what another threshold would draw, and saves nothing: ',
      element('code', {}, 'limner predict --threshold'),
      ' does.',
    );
    const step = (by, label) =>
      element('button', { type: 'button', onclick: () => this.go(by) }, label);
    this.dialog = element(
      'dialog',
      { class: 'viewer', 'aria-label': 'a predicted mask' },
      this.title,
      element('div', { class: 'large' }, this.picture, this.other),
      element(
        'form',
        { method: 'dialog', class: 'actions' },
        step(-1, '← Previous'),
        step(1, 'Next →'),
        this.threshold,
        element('button', { class: 'main' }, 'Close'),
      ),
      this.note,
    );
    this.dialog.addEventListener('keydown', (event) => {
      if (event.target === this.slider) return;
      if (event.key === 'ArrowLeft') this.go(-1);
      if (event.key === 'ArrowRight') this.go(1);
    });
    this.dialog.addEventListener('close', () => this.dialog.remove());
  }

  go(by) {
    const { length } = this.gallery.records;
    this.number = (this.number + by + length) % length;
    this.show();
  }

  /** Shows the mask as the model chose it. */
  async show() {
    const record = this.gallery.records[this.number], asked = this.number;
    const dice = record.predicted_dice === null
      ? ''
      : ` · predicted Dice ${record.predicted_dice.toFixed(2)}`;
    this.title.textContent = `${record.name}${dice}`;
    this.picture.setAttribute('aria-label', `${record.name} and its mask`);
    this.slider.value = 50;
    this.words.textContent = AS_CHOSEN;
    this.threshold.hidden = this.note.hidden = !this.gallery.hasThreshold;
    this.parts = null;
    this.other.hidden = record.other === null;
    if (record.other !== null) this.other.src = this.gallery.address(record, 'large', true);
    try {
      const whole = await this.load(record, 'large');
      if (asked === this.number) this.put(whole);
    } catch (error) {
      this.gallery.view.complain(error);
    }
  }

  async load(record, what) {
    const answer = await ask('GET', this.gallery.address(record, what));
    return createImageBitmap(await answer.blob());
  }

  put(bitmap) {
    this.picture.width = bitmap.width;
    this.picture.height = bitmap.height;
    this.picture.getContext('2d').drawImage(bitmap, 0, 0);
  }

  /** Draws the mask by the threshold of the slider. */
  async draw() {
    const record = this.gallery.records[this.number], asked = this.number;
    this.parts ??= Promise.all([
      this.load(record, 'image'),
      this.load(record, 'probability'),
    ]);
    try {
      const [image, probability] = await this.parts;
      if (asked === this.number) this.drawThreshold(image, probability);
    } catch (error) {
      this.gallery.view.complain(error);
    }
  }

  drawThreshold(image, probability) {
    const { width, height } = image;
    const pixels = (bitmap) => {
      const context = new OffscreenCanvas(width, height).getContext('2d');
      context.drawImage(bitmap, 0, 0, width, height);
      return context.getImageData(0, 0, width, height);
    };
    const shown = pixels(image), { data } = shown, likely = pixels(probability).data;
    const least = 2.55 * this.slider.value;
    const isInside = (x, y) => likely[4 * (y * width + x)] >= least;
    let inside = 0;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const here = isInside(x, y), at = 4 * (y * width + x);
        inside += here;
        const isEdge = (x && isInside(x - 1, y) !== here) ||
          (x < width - 1 && isInside(x + 1, y) !== here) ||
          (y && isInside(x, y - 1) !== here) || (y < height - 1 && isInside(x, y + 1) !== here);
        if (!here && !isEdge) continue;
        // An outline in two tones is seen on every colour
        const part = isEdge ? 1 : TINT, colour = here ? COLOUR : EDGE;
        for (let band = 0; band < 3; band++) {
          data[at + band] = (1 - part) * data[at + band] + part * colour[band];
        }
      }
    }
    this.picture.width = width;
    this.picture.height = height;
    this.picture.getContext('2d').putImageData(shown, 0, 0);
    const share = 100 * inside / (width * height);
    this.words.textContent = `${(this.slider.value / 100).toFixed(2)}: ${
      share.toFixed(1)
    } % inside`;
  }
}
