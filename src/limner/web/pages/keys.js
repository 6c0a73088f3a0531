// Which key does what: one table, from which the help is written too. What an action does is in
// actions.js.

/**
 * Keys as `event.key` in lower case, with Shift+ before them where it must be held. On a layout
 * without such a letter or sign it is the key at its place on a US keyboard.
 */
export const KEYS = [
  ['a', 'accept', 'A or Enter', 'accept the mask as it is'],
  ['enter', 'accept'],
  ['r', 'reject', 'R, then 1–9', 'reject it, with a reason'],
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
  ['l', 'lasso', 'L', 'lasso: as a polygon, whose sides follow edges'],
  ['backspace', 'corner', 'Backspace', 'take back the last corner'],
  ['delete', 'corner'],
  ['f', 'fill', 'F', 'fill holes'],
  ['g', 'grow', 'G', 'grow from a click over what looks alike'],
  ['t', 'contour', 'T', 'take over: a click draws the border that the model has there'],
  ['b', 'bucket', 'B', 'bucket: give a class all that is connected under a click'],
  ['v', 'copy', 'V', 'copy the mask of the image before'],
  ['x', 'protect', 'X', 'protect what other classes have'],
  ['n', 'note', 'N', 'write a note on the image'],
  ['c', 'class', 'C, 1–9', 'next class, or one by its number'],
  ['[', 'smaller', '[ ] or wheel', 'size of the brush'],
  [']', 'larger'],
  ['o', 'opacity', 'O', 'opacity'],
  [' ', 'bare', 'Space', 'hold for the bare image'],
  ['d', 'before', 'D', 'hold for the mask before it was changed'],
  ['m', 'uncertainty', 'M', 'where the model was uncertain'],
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

const SIGNS = { BracketLeft: '[', BracketRight: ']', Minus: '-', Equal: '=' };

/** What the key at a place gives on a US keyboard. */
const atPlace = (code) => /^(?:Key|Digit)(.)$/.exec(code)?.[1].toLowerCase() ?? SIGNS[code];

/** The key without what is held beside it. */
function keyOf(event, known) {
  const key = event.key.toLowerCase();
  const isForeign = key === 'dead' || (key.length === 1 && key > '\x7f');
  // The row of digits of AZERTY gives signs
  const isSign = key.length === 1 && !known.has(key) && !event.shiftKey &&
    event.code?.startsWith('Digit');
  return (isForeign || isSign) && atPlace(event.code ?? '') || key;
}

function nameOf(event, known) {
  const key = keyOf(event, known);
  // Windows reports AltGr as Control and Alt
  const isAltGr = event.getModifierState?.('AltGraph') || (event.ctrlKey && event.altKey);
  if (key.length === 1 && isAltGr) return key;
  const held = (event.ctrlKey || event.metaKey ? 'ctrl+' : '') + (event.altKey ? 'alt+' : '');
  return held + (event.shiftKey && /^[a-z]$/.test(key) ? 'shift+' : '') + key;
}

/** Calls `act(name, event)` for the keys of the table, unless a person writes text. */
export function listen(act) {
  const table = new Map(KEYS.map(([key, name]) => [key, name]));
  addEventListener('keydown', (event) => {
    if (event.target.matches?.('input[type=text], input[type=search], textarea, select')) return;
    const key = nameOf(event, table);
    const name = /^[1-9]$/.test(key) ? 'digit' : table.get(key);
    if (!name) return;
    if (
      event.target.matches?.('button, summary, a') && (event.key === 'Enter' || event.key === ' ')
    ) {
      // It presses what has the focus
      return;
    }
    event.preventDefault();
    if (event.repeat && !REPEATED.has(name)) return;
    act(name, event, key);
  });
  addEventListener('keyup', (event) => {
    const key = keyOf(event, table);
    if (key === ' ') act('dressed', event);
    if (key === 'd') act('after', event);
  });
  addEventListener('blur', () => {
    act('dressed');
    act('after');
  });
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
