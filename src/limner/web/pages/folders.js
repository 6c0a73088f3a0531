// A dialog in which a folder of the server's machine is chosen.

import { get } from './api.js';
import { element } from './elements.js';

/** Lets people choose a folder. Gives its path, or null where they leave. */
export function chooseFolder(title, complain) {
  const place = element('input', { type: 'text', 'aria-label': 'path', spellcheck: 'false' });
  const list = element('ul', { class: 'folders' });
  const use = element('button', { class: 'main', type: 'submit', value: 'use' }, 'Use this folder');
  const go = element('button', { type: 'button', onclick: () => show(place.value) }, 'Go');
  const dialog = element(
    'dialog',
    { class: 'chooser', 'aria-label': title },
    element(
      'form',
      { method: 'dialog' },
      element('h2', {}, title),
      element('p', { class: 'path' }, place, go),
      list,
      element(
        'p',
        { class: 'actions' },
        use,
        element('button', { type: 'submit', value: '', formnovalidate: true }, 'Cancel'),
      ),
    ),
  );
  let folder = null;

  async function show(path) {
    try {
      const found = await get(`api/folders?${new URLSearchParams({ path })}`);
      folder = found.folder;
      place.value = folder;
      const enter = (name, to) =>
        element(
          'li',
          {},
          element('button', { type: 'button', onclick: () => show(to) }, name),
        );
      const slash = folder.endsWith('/') ? '' : '/';
      list.replaceChildren(
        ...(found.parent ? [enter('↑ the folder above', found.parent)] : []),
        ...found.folders.map((name) => enter(name, `${folder}${slash}${name}`)),
      );
      if (found.left_out) list.append(element('li', {}, `and ${found.left_out} more`));
      if (!found.folders.length) list.append(element('li', { class: 'faint' }, 'no folder in it'));
      list.scrollTop = 0;
    } catch (error) {
      complain(error);
    }
  }

  place.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter') return;
    event.preventDefault();
    show(place.value);
  });
  document.body.append(dialog);
  dialog.showModal();
  show('');
  return new Promise((done) => {
    dialog.addEventListener('close', () => {
      dialog.remove();
      done(dialog.returnValue === 'use' ? folder : null);
    });
  });
}
