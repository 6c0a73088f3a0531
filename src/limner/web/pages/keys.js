// Which key does what: one table, from which the help is written too. What an action does is in
// actions.js.

/** Keys as `event.key` in lower case, with Shift+ before them where it must be held. */
export const KEYS = [
  ['a', 'accept', 'A or Enter', 'accept the mask as it is'],
  ['enter', 'accept'],
  ['r', 'reject', 'R, then 1–7', 'reject it, with a reason'],
  ['u', 'skip', 'U', 'skip to the next open image'],
  ['k', 'previous', 'J / K', 'next / previous image'],
  ['j', 'next'],
  ['z', 'undo', 'Z', 'undo'],
  ['shift+z', 'redo', 'Shift+Z', 'redo'],
  ['ctrl+z', 'undo'],
  ['ctrl+shift+z', 'redo'],
  ['ctrl+y', 'redo'],
  ['p', 'polygon', 'P', 'polygon: click its corners, Enter adds it, Alt+Enter takes it away'],
  ['alt+enter', 'subtract'],
  ['f', 'fill', 'F', 'fill holes'],
  ['g', 'grow', 'G', 'grow from a click over what looks alike'],
  ['c', 'class', 'C', 'next class'],
  ['[', 'smaller', '[ ] or wheel', 'size of the brush'],
  [']', 'larger'],
  ['o', 'opacity', 'O', 'opacity'],
  [' ', 'bare', 'Space', 'hold for the bare image'],
  ['+', 'in', '+ − 0', 'zoom in, out, whole image (also Ctrl+wheel, pinch)'],
  ['=', 'in'],
  ['-', 'out'],
  ['0', 'fit'],
  ['arrowleft', 'left', 'arrows', 'move the image (also middle button, Shift+wheel, two fingers)'],
  ['arrowright', 'right'],
  ['arrowup', 'up'],
  ['arrowdown', 'down'],
  ['escape', 'escape', 'Esc', 'leave what was started'],
  ['?', 'help', '?', 'this help'],
];
/** What goes on while a key is held. */
const REPEATED = new Set(
  'undo redo smaller larger in out left right up down next previous'.split(' '),
);
const MOUSE = [['left button', 'adds'], ['right button, Alt', 'erases']];

const nameOf = (event) => {
  const key = event.key.toLowerCase(),
    held = (event.ctrlKey || event.metaKey ? 'ctrl+' : '') + (event.altKey ? 'alt+' : '');
  return held + (event.shiftKey && /^[a-z]$/.test(key) ? 'shift+' : '') + key;
};

/** Calls `act(name, event)` for the keys of the table, unless a person writes text. */
export function listen(act) {
  const table = new Map(KEYS.map(([key, name]) => [key, name]));
  addEventListener('keydown', (event) => {
    if (event.target.matches?.('input[type=text], textarea, select')) return;
    const digit = /^[1-9]$/.test(event.key) && !event.ctrlKey && !event.metaKey && !event.altKey;
    const name = digit ? 'digit' : table.get(nameOf(event));
    if (!name) return;
    if (
      event.target.matches?.('button, summary, a') && (event.key === 'Enter' || event.key === ' ')
    ) {
      // It presses what has the focus
      return;
    }
    event.preventDefault();
    if (event.repeat && !REPEATED.has(name)) return;
    act(name, event);
  });
  addEventListener('keyup', (event) => {
    if (event.key === ' ') act('dressed', event);
  });
  addEventListener('blur', () => act('dressed'));
}

export function writeHelp(table) {
  for (
    const [key, text] of [...KEYS.filter((row) => row[2]).map((row) => row.slice(2)), ...MOUSE]
  ) {
    const row = table.insertRow();
    const name = document.createElement('kbd');
    name.textContent = key;
    row.insertCell().append(name);
    row.insertCell().textContent = text;
  }
}
