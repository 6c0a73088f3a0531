// A list of small pictures, of which more are shown when they are asked for.

import { element } from './elements.js';

const FIRST = 12, MORE = 60;

/** Shows `count` pictures; `address` gives that of each by its number. */
export function pictureList(count, address, what) {
  const list = element('ul', { class: 'pictures' });
  const more = element('button', { type: 'button' });
  let shown = 0;
  const show = (number) => {
    const end = Math.min(count, shown + number);
    for (; shown < end; shown++) {
      const picture = element('img', {
        src: address(shown),
        alt: `${what} ${shown + 1}`,
        loading: 'lazy',
        decoding: 'async',
      });
      list.append(element('li', {}, picture));
    }
    more.hidden = shown === count;
    more.textContent = `Show more of ${count.toLocaleString('en')}`;
  };
  more.addEventListener('click', () => show(MORE));
  show(FIRST);
  return element('div', {}, list, element('p', { class: 'actions' }, more));
}
