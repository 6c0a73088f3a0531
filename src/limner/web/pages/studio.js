// The studio: a start page with projects, and the page of each by the hash of the address.

import { ask, get } from './api.js';
import { element } from './elements.js';
import { chooseFolder } from './folders.js';
import { closeProject, openProject } from './project.js';

const $ = (id) => document.getElementById(id);
let hidden = 0; // the timer that hides a notice

/** Says what went wrong. */
export function complain(error) {
  $('notice').textContent = error.message || 'The server cannot be reached.';
  $('notice').hidden = false;
  clearTimeout(hidden);
  hidden = setTimeout(() => $('notice').hidden = true, 12_000);
}

async function route() {
  const id = location.hash.slice(1);
  closeProject();
  $('notice').hidden = true;
  try {
    const start = await get('api/projects');
    $('user').textContent = `as ${start.user}`;
    // Where it was not opened here, this says so
    if (id) await get(`api/projects/${id}`);
    if (id) openProject($('page'), id, start, complain);
    else showStart(start);
  } catch (error) {
    complain(error);
  }
}

function showStart({ projects, may_work: mayWork }) {
  $('where').textContent = '';
  document.title = 'limner';
  const open = (path, json) => async () => {
    try {
      const { id } = await (await ask('POST', path, { json })).json();
      location.hash = id;
    } catch (error) {
      complain(error);
    }
  };
  const browse = async () => {
    const folder = await chooseFolder('Open the folder of your images', complain);
    if (folder) await open('api/projects', { folder })();
  };
  const links = projects.map(({ id, name, folder }) =>
    element(
      'li',
      {},
      element('a', { href: `#${id}` }, name),
      element('span', { class: 'faint' }, folder),
    )
  );
  $('page').replaceChildren(
    element(
      'section',
      { class: 'start' },
      element('h2', {}, 'Find the outline of things, in all your images'),
      element(
        'p',
        {},
        'Open a folder of images. With masks beside them limner trains a model, says how good it ',
        'is, and draws masks in new images. Without masks you draw the first ones here.',
      ),
      mayWork && element(
        'p',
        { class: 'actions' },
        element('button', { class: 'main', type: 'button', onclick: browse }, 'Open a folder …'),
        element(
          'button',
          { type: 'button', id: 'sample', onclick: open('api/sample', {}) },
          'Try the sample set',
        ),
      ),
      element(
        'p',
        { class: 'faint' },
        'The images stay on this machine. Nothing is sent anywhere.',
      ),
    ),
    links.length ? element('h3', {}, 'Opened before') : '',
    element('ul', { class: 'recent' }, links),
  );
}

addEventListener('hashchange', route);
route();
