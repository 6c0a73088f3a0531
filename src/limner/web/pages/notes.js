// Notes on the image that is shown, and what each reviewer did.

import { ask, get } from './api.js';
import { say } from './panel.js';
import { focusStage } from './stage.js';
import { $, state } from './state.js';

/** Shows how many notes the current image has. */
export async function countNotes() {
  const session = state.current;
  $('note-count').textContent = '';
  if (!session) return;
  const notes = await get(`api/tasks/${session.place}/notes`).catch(() => []);
  if (session === state.current) showNotes(notes);
}

function showNotes(notes) {
  $('note-count').textContent = notes.length ? ` (${notes.length})` : '';
  $('note-list').replaceChildren(...notes.map(({ reviewer, at, text }) => {
    const row = document.createElement('li'), by = document.createElement('span');
    by.className = 'faint';
    by.textContent = `${reviewer}, ${at.slice(0, 16).replace('T', ' ')}: `;
    row.append(by, text);
    return row;
  }));
}

/** Opens the notes of the current image, or closes them. */
export function toggleNotes() {
  if ($('notes').open) {
    $('notes').close();
    focusStage();
  } else if (state.current) {
    $('notes').showModal();
    $('note-text').focus();
  }
}

/** Listens to the form of a note, which Ctrl+Enter sends too. */
export function listenToNotes() {
  $('note-form').addEventListener('submit', (event) => {
    event.preventDefault();
    save();
  });
  $('note-text').addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) save();
  });
}

async function save() {
  const session = state.current, text = $('note-text').value.trim();
  if (!session || !text) return;
  try {
    const path = `api/tasks/${session.place}/notes`;
    const notes = await (await ask('POST', path, { json: { text } })).json();
    $('note-text').value = '';
    if (session === state.current) showNotes(notes);
    toggleNotes();
  } catch (error) {
    // What was written stays in the form
    say(`The note was not saved: ${error.message}`);
  }
}

/** Shows what each reviewer did. */
export async function showPeople() {
  try {
    const people = await get('api/reviewers');
    $('people-table').tBodies[0].replaceChildren(...people.map((person) => {
      const row = document.createElement('tr');
      for (const name of ['reviewer', 'accepted', 'corrected', 'rejected', 'minutes']) {
        row.insertCell().textContent = person[name];
      }
      row.insertCell().textContent = person.agreement?.toFixed(3) ?? '–';
      return row;
    }));
    $('people').showModal();
  } catch (error) {
    say(error.message);
  }
}
