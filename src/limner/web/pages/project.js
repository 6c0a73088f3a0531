// The page of a project: its path of steps, and what is at work. The server sends what changes.

import { ask } from './api.js';
import { element } from './elements.js';
import { BODIES } from './steps.js';
import { Work } from './work.js';

const STATES = {
  done: ['✓', 'done'],
  next: ['→', 'the next step'],
  running: ['…', 'at work'],
  failed: ['!', 'needs a look'],
  open: ['○', 'to do'],
};
let source = null; // the stream of events

/** Ends the stream of the project that is shown. */
export function closeProject() {
  source?.close();
  source = null;
}

/** Shows a project in a page until it is closed. */
export function openProject(page, id, { may_work: mayWork }, complain) {
  const view = new ProjectView(page, id, mayWork, complain);
  source = new EventSource(`api/projects/${id}/events`);
  const take = (kind, use) => source.addEventListener(kind, (event) => use(JSON.parse(event.data)));
  take('project', (project) => view.show(project));
  take('run', (run) => view.showRun(run));
  take('output', (output) => view.work.append(output));
  take('gone', ({ error }) => {
    closeProject();
    page.replaceChildren();
    complain(new Error(error));
  });
  source.addEventListener('error', () => view.work.lose());
  source.addEventListener('open', () => view.work.find());
}

/** A project as it is shown. Its cards stay; what is in them is made anew when it changes. */
class ProjectView {
  constructor(page, id, mayWork, complain) {
    this.id = id;
    this.mayWork = mayWork;
    this.complain = complain;
    this.path = `api/projects/${id}`;
    this.project = this.run = null;
    this.work = new Work((job) => this.stop(job), mayWork);
    this.cards = new Map();
    this.list = element('ol', { class: 'path' });
    page.replaceChildren(this.work.panel, this.list);
  }

  /** Takes over what the server says of the project. */
  show(project) {
    this.project = project;
    document.title = `${project.name} · limner`;
    document.getElementById('where').textContent = project.folder;
    this.work.show(project.jobs, project.busy);
    for (const step of project.steps) {
      if (!this.cards.has(step.name)) this.cards.set(step.name, this.makeCard(step));
      this.showStep(this.cards.get(step.name), step);
    }
  }

  /** Takes over how far a training is. */
  showRun(run) {
    this.run = run;
    this.work.showTime(run.seconds_left);
    const card = this.cards.get('train');
    if (card) this.fillCard(card);
  }

  /** Asks the server to do a step. */
  async start(request) {
    try {
      await ask('POST', `${this.path}/jobs`, { json: request });
    } catch (error) {
      const beside = error.details?.beside && confirm(`${error.message} Train beside it?`);
      if (beside) await this.start({ ...request, beside: true });
      else if (!error.details?.beside) this.complain(error);
    }
  }

  async stop(job) {
    try {
      await ask('POST', `${this.path}/jobs/${job}/stop`);
    } catch (error) {
      this.complain(error);
    }
  }

  makeCard(step) {
    const card = {
      name: step.name,
      state: '',
      key: null,
      badge: element('span', { class: 'badge', role: 'img' }),
      summary: element('span', { class: 'summary' }),
      command: element('code'),
      body: element('div', { class: 'body' }),
    };
    const copy = element(
      'button',
      { type: 'button', class: 'small', onclick: () => copyText(card.command, copy) },
      'Copy',
    );
    card.copied = element('p', { class: 'command' }, 'In a terminal: ', card.command, copy);
    card.details = element(
      'details',
      { id: `step-${step.name}` },
      element(
        'summary',
        {},
        card.badge,
        element('span', { class: 'title' }, step.title),
        card.summary,
      ),
      card.body,
      card.copied,
    );
    card.details.addEventListener('toggle', () => this.fillCard(card));
    this.list.append(element('li', {}, card.details));
    return card;
  }

  showStep(card, step) {
    const [sign, words] = STATES[step.state];
    card.details.dataset.state = step.state;
    card.badge.textContent = sign;
    card.badge.setAttribute('aria-label', words);
    card.badge.title = words;
    card.summary.textContent = step.summary;
    card.command.textContent = step.command;
    card.copied.hidden = !step.command;
    if (card.state !== step.state) {
      // The step that is next opens by itself, and the one that ended stays as it is
      if (['next', 'running', 'failed'].includes(step.state)) card.details.open = true;
      card.state = step.state;
    }
    this.fillCard(card);
  }

  /** Makes what a card holds, where it is open and anything of it changed. */
  fillCard(card) {
    if (!card.details.open) return;
    const { key, build } = BODIES[card.name];
    const now = JSON.stringify(key(this));
    if (card.key === now) return;
    card.key = now;
    card.body.replaceChildren(...build(this).flat().filter(Boolean));
  }
}

async function copyText(code, button) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = 'Copied';
    setTimeout(() => button.textContent = 'Copy', 2000);
  } catch {
    // Without https a page may not copy: people do it
    getSelection().selectAllChildren(code);
  }
}
