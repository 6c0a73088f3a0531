// What is at work: the job that runs, those that wait, and what it prints.

import { element, spellSeconds } from './elements.js';

const KEPT = 200_000; // characters of what a job printed
const ENDS = {
  done: 'is done',
  failed: 'failed',
  stopped: 'was stopped',
  lost: 'was ended by the system, perhaps for want of memory',
};

/** The panel of jobs. `stop` takes the id of one. */
export class Work {
  constructor(stop, mayWork) {
    this.stop = stop;
    this.mayWork = mayWork;
    this.jobs = [];
    this.until = null; // when a training ends, in milliseconds
    this.text = '';
    this.line = element('span', { role: 'status' });
    this.time = element('span', { class: 'faint' });
    this.button = element('button', { type: 'button' }, 'Stop');
    this.button.addEventListener('click', () => this.stop(this.shown.id));
    this.output = element('pre', { tabindex: '0', 'aria-label': 'what the command prints' });
    this.more = element('details', {}, element('summary', {}, 'What it prints'), this.output);
    this.waiting = element('ul', { class: 'waiting' });
    this.lost = element('p', { class: 'bad', hidden: true }, 'The server cannot be reached …');
    this.panel = element(
      'section',
      { class: 'work', 'aria-label': 'at work', hidden: true },
      element('p', {}, this.line, this.time, this.button),
      this.waiting,
      this.more,
      this.lost,
    );
    setInterval(() => this.tick(), 1000);
  }

  /** The job that runs, or else the newest one. */
  get shown() {
    return this.jobs.find((job) => job.state === 'running') ?? this.jobs[0];
  }

  /** Takes over the jobs of the project, and what another project is busy with. */
  show(jobs, busy) {
    const before = this.shown?.state;
    this.jobs = jobs;
    const job = this.shown;
    this.panel.hidden = !job && !busy;
    this.button.hidden = !(this.mayWork && job && ['running', 'waiting'].includes(job.state));
    this.panel.dataset.state = job?.state ?? '';
    this.more.hidden = !job;
    this.line.replaceChildren(...this.describe(job, busy));
    if (job?.state === 'failed' && before !== 'failed') this.more.open = true;
    const others = jobs.filter((each) => each.state === 'waiting' && each !== job);
    this.waiting.replaceChildren(...others.map((each) => this.describeWaiting(each)));
    this.tick();
  }

  /** Adds what a job printed. */
  append({ text, begins }) {
    if (begins) this.text = '';
    const isAtEnd =
      this.output.scrollTop + this.output.clientHeight > this.output.scrollHeight - 30;
    this.text = (this.text + text).slice(-KEPT);
    this.output.textContent = this.text;
    if (isAtEnd) this.output.scrollTop = this.output.scrollHeight;
  }

  /** Takes over how long a training still has. */
  showTime(seconds) {
    this.until = seconds === null ? null : Date.now() + 1000 * seconds;
    this.tick();
  }

  /** The server does not answer. */
  lose() {
    this.panel.hidden = this.lost.hidden = false;
  }

  /** It answers again. */
  find() {
    this.lost.hidden = true;
  }

  describe(job, busy) {
    if (busy && job?.state !== 'running') {
      return ['At work for another project, this one waits: ', element('code', {}, busy)];
    }
    if (!job) return [];
    const command = element('code', {}, job.command);
    if (job.state === 'running') return ['At work: ', command];
    if (job.state === 'waiting') return ['Waiting for its turn: ', command];
    return [command, ` ${ENDS[job.state]}.`];
  }

  describeWaiting(job) {
    const leave = element(
      'button',
      { type: 'button', class: 'small', onclick: () => this.stop(job.id) },
      'Cancel',
    );
    return element('li', {}, 'then ', element('code', {}, job.command), this.mayWork && leave);
  }

  tick() {
    const job = this.shown;
    const isTraining = job?.state === 'running' && job.kind === 'train' && this.until !== null;
    const left = (this.until - Date.now()) / 1000;
    if (!isTraining) this.time.textContent = '';
    else if (left > 0) this.time.textContent = `about ${spellSeconds(left)} left`;
    else this.time.textContent = 'nearly done';
  }
}
