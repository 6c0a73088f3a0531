// What the cards of a project's steps hold. `key` gives what a card depends on; where that changes,
// `build` makes its elements anew.

import { countNoun, element } from './elements.js';
import { chooseFolder } from './folders.js';
import { dropArea } from './new_images.js';
import { pictureList } from './picture_list.js';
import { PredictionGallery } from './prediction_gallery.js';
import { runTable, trainingForm, trainingPanel } from './training.js';

const FEW = 5; // drawn masks of which a dataset is worth making

/** Whether a job of a kind waits or runs. */
const isBusy = ({ project }, ...kinds) =>
  project.jobs.some(({ kind, state }) =>
    kinds.includes(kind) && ['waiting', 'running'].includes(state)
  );

/** How many masks people accepted or corrected. */
const keptOf = (counts) => counts ? counts.accepted + counts.corrected : 0;

/** A button that asks for a step; none for people who may only review. */
function startButton(view, label, request, isMain = true) {
  if (!view.mayWork) return null;
  const button = element('button', { type: 'button', class: isMain ? 'main' : '' }, label);
  button.addEventListener('click', async () => {
    button.disabled = true;
    await view.start(request);
    button.disabled = false;
  });
  return button;
}

const embedded = (path, title) =>
  element(
    'div',
    {},
    element('iframe', { src: path, title, class: 'document', loading: 'lazy' }),
    element('p', {}, element('a', { href: path, target: '_blank' }, 'Open it in a tab of its own')),
  );

const reviewLink = ({ id }, name, label, isMain = true) =>
  element(
    'a',
    { class: isMain ? 'button main' : 'button', href: `review/${id}/${encodeURIComponent(name)}/` },
    label,
  );

const paragraph = (...children) => element('p', {}, ...children);
const actions = (...children) => element('p', { class: 'actions' }, ...children);

const images = {
  key: ({ project }) => [project.data, project.images],
  build: ({ project, path }) => [
    project.images
      ? pictureList(project.images, (index) => `${path}/images/${index}`, 'image')
      : paragraph('Put images into the folder. They appear here.'),
  ],
};

const masks = {
  key: (view) => {
    const { data, pairs, coloured, drawn, steps } = view.project;
    const problem = steps.find(({ name }) => name === 'masks').summary;
    return [data, pairs, coloured, drawn, problem, isBusy(view, 'merge', 'next')];
  },
  build: (view) => {
    const { project, path } = view, { drawn } = project;
    const parts = [];
    if (project.pairs && project.coloured) {
      parts.push(pictureList(project.pairs, (index) => `${path}/samples/${index}`, 'mask'));
    } else if (project.pairs) {
      parts.push(paragraph('Once they are checked, they are shown here in their colours.'));
    }
    if (!project.images || (project.pairs && !drawn)) return parts;
    const kept = keptOf(drawn);
    const makes = kept > 0 && !isBusy(view, 'merge') &&
      startButton(
        view,
        `Make a dataset of ${countNoun(kept, 'mask')}`,
        { step: 'merge' },
        kept >= FEW && !project.pairs,
      );
    const label = drawn ? 'Go on drawing' : 'Draw masks';
    const isMain = !project.pairs && kept < FEW;
    parts.push(actions(reviewLink(view, project.name, label, isMain), makes));
    return parts;
  },
};

const check = {
  key: (view) => [view.project.data, view.project.check, isBusy(view, 'check')],
  build: (view) => {
    const { project, path } = view;
    const label = project.check ? 'Check again' : 'Check images and masks';
    const parts = [];
    if (project.images && !isBusy(view, 'check')) {
      parts.push(actions(startButton(view, label, { step: 'check' }, !project.check)));
    }
    // Another address where the page was written anew
    const version = encodeURIComponent(JSON.stringify(project.check));
    if (project.check) parts.push(embedded(`${path}/check?${version}`, 'what the check found'));
    return parts;
  },
};

const train = {
  key: (view) => {
    const { runs, pairs } = view.project;
    return [runs, { ...view.run, seconds_left: null }, isBusy(view, 'train'), pairs > 0];
  },
  build: (view) => {
    const { project, run } = view, parts = [];
    if (run) parts.push(trainingPanel(view, run));
    if (!isBusy(view, 'train') && project.pairs) parts.push(...trainingForm(view));
    if (project.runs.length) parts.push(runTable(view, startButton));
    if (!project.pairs) parts.push(paragraph('A model learns from masks: they come first.'));
    return parts;
  },
};

const report = {
  key: (view) => [view.project.best, view.project.runs.map((run) => run.test_dice), busyTest(view)],
  build: (view) => {
    const { project, path } = view, parts = [];
    const best = project.runs.find(({ name }) => name === project.best);
    if (!best) return [paragraph('There is no model yet.')];
    const label = best.has_report ? 'Score again' : 'Score it on test images';
    if (!busyTest(view)) {
      parts.push(actions(startButton(view, label, { step: 'test' }, !best.has_report)));
    }
    for (const run of project.runs.filter(({ has_report: has }) => has)) {
      const address = `${path}/runs/${encodeURIComponent(run.name)}/report?${run.test_dice}`;
      parts.push(
        element(
          'details',
          { open: run === best, class: 'inner' },
          element('summary', {}, `The report of ${run.name}`),
          embedded(address, `the report of ${run.name}`),
        ),
      );
    }
    return parts;
  },
};
const busyTest = (view) => isBusy(view, 'test');

const predict = {
  key: (view) => {
    const { best, predictions, new_images: folders } = view.project;
    return [best, predictions, folders, isBusy(view, 'predict', 'measure')];
  },
  build: (view) => {
    const { project } = view, parts = [];
    if (!project.best) return [paragraph('There is no model yet.')];
    if (view.mayWork) {
      const browse = async () => {
        const images = await chooseFolder('Choose the folder of new images', view.complain);
        if (images) await view.start({ step: 'predict', images });
      };
      parts.push(
        dropArea(view),
        actions(
          ...project.new_images.map((images) =>
            startButton(view, `Predict masks in ${images}`, { step: 'predict', images }, false)
          ),
          element('button', { type: 'button', onclick: browse }, 'Choose a folder …'),
        ),
      );
    }
    const galleries = project.predictions.map((prediction, index) =>
      new PredictionGallery(view, prediction, index === 0, startButton).panel
    );
    return [...parts, ...galleries];
  },
};

const review = {
  key: ({ project }) => [project.predictions],
  build: (view) =>
    view.project.predictions.length
      ? view.project.predictions.map(({ name, masks: count, review: counts }, index) => {
        const left = counts ? count - keptOf(counts) - counts.rejected : count;
        const words = counts
          ? `${counts.accepted} accepted, ${counts.corrected} corrected, ` +
            `${counts.rejected} rejected, ${left} left`
          : countNoun(count, 'mask');
        const label = counts ? `Go on with “${name}”` : `Review “${name}”`;
        return actions(reviewLink(view, name, label, index === 0), words);
      })
      : [paragraph('There are no predicted masks yet.')],
};

const next = {
  key: (view) => [view.project.predictions, isBusy(view, 'next', 'train')],
  build: (view) => {
    const reviewed = view.project.predictions.filter(({ review: counts }) => keptOf(counts));
    if (!reviewed.length) {
      return [paragraph('Accept and correct some masks. They train the next model.')];
    }
    if (isBusy(view, 'next', 'train')) return [];
    return reviewed.map(({ name, review: counts }, index) => {
      const { corrected } = counts;
      const count = countNoun(keptOf(counts), 'reviewed mask');
      const label = `Train the next model with ${count} of ${name}`;
      const request = { step: 'next', predictions: name };
      return actions(
        startButton(view, label, request, index === 0),
        `${countNoun(corrected, 'correction')} among them`,
      );
    });
  },
};

export const BODIES = { images, masks, check, train, report, predict, review, next };
