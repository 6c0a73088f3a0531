// A folder of predicted masks as pictures, the least certain first; two folders side by side.

import { get } from './api.js';
import { countNoun, element } from './elements.js';
import { openViewer } from './viewer.js';

const COUNT = 48;
const DOUBTFUL = 0.6; // a predicted Dice below which a mask is likely wrong

/** The panel of a folder of predictions. */
export class PredictionGallery {
  constructor(view, prediction, isOpen, startButton) {
    this.view = view;
    this.name = prediction.name;
    this.path = `${view.path}/predictions/${encodeURIComponent(prediction.name)}`;
    this.list = element('ul', { class: 'pictures' });
    this.more = element('button', { type: 'button', onclick: () => this.load() }, 'Show more');
    this.beside = this.chooseOther();
    const measures = prediction.has_measures
      ? element(
        'a',
        { class: 'button', href: `${this.path}/measures`, target: '_blank' },
        'Measures',
      )
      : startButton(view, 'Measure', { step: 'measure', predictions: this.name }, false);
    const zip = { class: 'button', href: `${this.path}/masks.zip`, download: `${this.name}.zip` };
    this.panel = element(
      'details',
      { class: 'inner', open: isOpen },
      element(
        'summary',
        {},
        `${this.name}: ${countNoun(prediction.masks, 'mask')} by ${prediction.run}`,
      ),
      element('p', { class: 'actions' }, element('a', zip, 'Masks as zip'), measures, this.beside),
      this.list,
      element('p', { class: 'actions' }, this.more),
    );
    this.records = [];
    this.hasBegun = false;
    // It comes for a panel that is open from the start too
    this.panel.addEventListener('toggle', () => this.begin());
  }

  begin() {
    if (!this.panel.open || this.hasBegun) return;
    this.hasBegun = true;
    this.load();
  }

  get other() {
    return this.beside?.querySelector('select').value ?? '';
  }

  chooseOther() {
    const others = this.view.project.predictions.filter(({ name }) => name !== this.name);
    if (!others.length) return null;
    const options = [
      ['', 'nothing'],
      ...others.map(({ name, run }) => [name, `${name} by ${run}`]),
    ];
    const select = element(
      'select',
      {},
      options.map(([value, words]) => element('option', { value }, words)),
    );
    select.addEventListener('change', () => {
      this.records = [];
      this.list.replaceChildren();
      this.load();
    });
    return element('label', {}, 'Compare with ', select);
  }

  async load() {
    const query = new URLSearchParams({ start: this.records.length, count: COUNT });
    if (this.other) query.set('beside', this.other);
    try {
      const answer = await get(`${this.path}?${query}`);
      this.hasThreshold = answer.has_threshold;
      for (const record of answer.records) this.add(record);
      this.more.hidden = this.records.length >= answer.count;
    } catch (error) {
      this.view.complain(error);
    }
  }

  /** The address of a record's picture, of this folder or of the other. */
  address(record, what, isOther = false) {
    if (!isOther) return `${this.path}/${record.index}?what=${what}`;
    const other = encodeURIComponent(this.other);
    return `${this.view.path}/predictions/${other}/${record.other}?what=${what}`;
  }

  add(record) {
    const number = this.records.push(record) - 1;
    const dice = record.predicted_dice === null ? '' : record.predicted_dice.toFixed(2);
    const isDoubtful = record.predicted_dice !== null && record.predicted_dice < DOUBTFUL;
    const picture = (isOther) =>
      element('img', {
        src: this.address(record, 'overlay', isOther),
        alt: '',
        loading: 'lazy',
        decoding: 'async',
      });
    const facts = [
      dice && `predicted Dice ${dice}`,
      isDoubtful && 'look at it',
      record.unusual && 'unlike the training images',
      record.agreement !== null && `Dice between both ${record.agreement.toFixed(3)}`,
    ].filter(Boolean);
    const open = () => openViewer(this, number);
    this.list.append(
      element(
        'li',
        { class: record.other === null ? '' : 'pair' },
        element(
          'button',
          { type: 'button', class: 'picture', onclick: open, 'aria-label': record.name },
          picture(false),
          record.other === null ? '' : picture(true),
        ),
        element('span', { class: 'caption', title: record.name }, record.name),
        element(
          'span',
          { class: isDoubtful || record.unusual ? 'caption facts bad' : 'caption facts faint' },
          facts.join(' · '),
        ),
      ),
    );
  }
}
