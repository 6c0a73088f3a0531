// Where new images are dropped: they are sent to the server one after the other, and segmented.

import { ask } from './api.js';
import { countNoun, element } from './elements.js';

/** The area of a project's new images. */
export function dropArea(view) {
  const chooser = element('input', { type: 'file', multiple: true, id: 'new-files' });
  const words = element(
    'span',
    {},
    'Drop new images here, or click to choose them.',
  );
  const bar = element('progress', { max: '1', value: '0', hidden: true });
  const area = element('label', { class: 'drop', for: 'new-files' }, chooser, words, bar);
  let isSending = false;

  async function take(files) {
    if (!files.length || isSending) return;
    isSending = true;
    bar.hidden = false;
    bar.max = files.length;
    const failed = [];
    try {
      const made = await ask('POST', `${view.path}/drops`);
      const { folder } = await made.json();
      for (const [number, file] of files.entries()) {
        words.textContent = `Sending ${file.name} (${number + 1} of ${files.length}) …`;
        const address = `${view.path}/drops/${folder}/${encodeURIComponent(file.name)}`;
        try {
          await ask('PUT', address, { body: file });
        } catch (error) {
          failed.push(`${file.name}: ${error.message}`);
        }
        bar.value = number + 1;
      }
      const sent = files.length - failed.length;
      words.textContent = `${countNoun(sent, 'image')} in ${folder}.`;
      if (failed.length) {
        const rest = failed.length > 3 ? ` and ${failed.length - 3} more` : '';
        view.complain(new Error(`Not taken: ${failed.slice(0, 3).join(' ')}${rest}`));
      }
      if (sent) await view.start({ step: 'predict', images: folder });
    } catch (error) {
      view.complain(error);
    }
    isSending = false;
    bar.hidden = true;
    chooser.value = '';
  }

  chooser.addEventListener('change', () => take([...chooser.files]));
  for (const name of ['dragover', 'dragleave', 'drop']) {
    area.addEventListener(name, (event) => {
      event.preventDefault();
      area.classList.toggle('over', name === 'dragover');
      if (name === 'drop') take([...event.dataTransfer.files]);
    });
  }
  return area;
}
