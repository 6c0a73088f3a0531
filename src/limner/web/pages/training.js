// The card of training: what people choose, how far it is, and all runs.

import { drawCurve } from './curve.js';
import { element } from './elements.js';

const MINUTES = 15;
const TIMES = [2, 5, 15, 60]; // minutes that are proposed
const SIZES = [['', 'as planned'], ['128', '128 px'], ['256', '256 px'], ['384', '384 px'], [
  '512',
  '512 px',
]];
const NETWORKS = [['', 'pretrained encoder'], ['none', 'from scratch']];

const choice = (label, id, options) =>
  element(
    'label',
    {},
    label,
    element(
      'select',
      { id },
      options.map(([value, words]) => element('option', { value }, words)),
    ),
  );

const numberField = (label, id, attributes) =>
  element(
    'label',
    {},
    label,
    element('input', { id, type: 'number', placeholder: 'as planned', ...attributes }),
  );

/** What people choose before a training. */
export function trainingForm(view) {
  if (!view.mayWork) return [];
  const form = element(
    'form',
    { class: 'choices' },
    numberField('Minutes', 'minutes', { min: '0.1', step: 'any', value: MINUTES, list: 'times' }),
    element('datalist', { id: 'times' }, TIMES.map((value) => element('option', { value }))),
    numberField('or epochs', 'epochs', { min: '1', step: '1' }),
    choice('Size', 'size', SIZES),
    choice('Network', 'network', NETWORKS),
    element('button', { class: 'main', type: 'submit' }, 'Train'),
  );
  const field = (id) => form.querySelector(`#${id}`);
  // What is given last counts
  field('epochs').addEventListener('input', () => field('minutes').value = '');
  field('minutes').addEventListener('input', () => field('epochs').value = '');
  const number = (id) => field(id).value ? +field(id).value : null;
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const button = form.querySelector('button');
    button.disabled = true;
    await view.start({
      step: 'train',
      minutes: number('minutes'),
      epochs: number('epochs'),
      size_px: number('size'),
      encoder: field('network').value,
    });
    button.disabled = false;
  });
  return view.project.runs.length ? [element('h3', {}, 'Train another model'), form] : [form];
}

/** How far a run is: its curve, pictures, plan and notes. */
export function trainingPanel(view, run) {
  const address = `${view.path}/runs/${encodeURIComponent(run.name)}/validation?${run.pictures}`;
  const rows = run.plan.map(({ name, value, reason }) =>
    element(
      'tr',
      {},
      element('th', { scope: 'row' }, name),
      element('td', {}, value),
      element('td', { class: 'faint' }, reason),
    )
  );
  return element(
    'section',
    { class: 'run', 'aria-label': `the run ${run.name}` },
    element('h3', {}, run.name),
    element('table', { class: 'plan' }, element('tbody', {}, rows)),
    run.validations.length ? drawCurve(run.validations, run.epochs) : '',
    run.pictures
      ? element('img', {
        class: 'validation',
        src: address,
        alt: 'validation images with the masks that the model draws now',
      })
      : '',
    run.notes.length
      ? element('ul', { class: 'notes' }, run.notes.map((note) => element('li', {}, note)))
      : '',
  );
}

const spellDice = (dice) => dice === null ? '–' : dice.toFixed(3);

/** All runs, with what can be done with each. */
export function runTable(view, startButton) {
  const heads = ['run', 'state', 'validation Dice', 'test Dice', 'minutes', ''];
  const rows = view.project.runs.map((run) =>
    element(
      'tr',
      {},
      element('th', { scope: 'row' }, run.name),
      element('td', { title: run.state }, run.state.split(':')[0]),
      element('td', { class: 'number' }, spellDice(run.validation_dice)),
      element('td', { class: 'number' }, spellDice(run.test_dice)),
      element('td', { class: 'number' }, run.minutes ?? '–'),
      element(
        'td',
        {},
        run.state === 'stopped' &&
          startButton(view, 'Resume', { step: 'resume', run: run.name }, false),
      ),
    )
  );
  return element(
    'div',
    { class: 'wide', tabindex: '0', role: 'region', 'aria-label': 'runs' },
    element(
      'table',
      {},
      element('thead', {}, element('tr', {}, heads.map((head) => element('th', {}, head)))),
      element('tbody', {}, rows),
    ),
  );
}
