// All jobs: newest first, with what they are at, why they wait, and how good they are.
import { h, fill, update } from './dom.js';
import { call } from './api.js';
import * as address from './address.js';
import { follow } from './live.js';
import { jobTags } from './job_tags.js';
import { STATES, clock, duration, hasEnded, percent, plural, shortName, spent, whole } from './format.js';

const PAGE = 100;
const CHOICES = [['All', ''], ['Open', 'state = open'], ['Running', 'state = RUNNING'], ['Queued', 'state = QUEUED'],
  ['Failed', 'state = FAILED'], ['Ended', 'state = ended']];

// What stands in the field: a filter of the API, or a word of the name.
export function filterOf(text) {
  const words = text.trim();
  if (words === '' || /[=<>:]/.test(words)) return words;
  const quote = words.includes('"') ? "'" : '"';  // the one that it does not hold, as the command line does
  return `name : ${quote}${words}${quote}`;
}

export function badge(job) {
  const [word, kind] = STATES[job.state] ?? [job.state ?? '', 'off'];
  const doubt = { STALE: 'not heard for a while', UNREACHABLE: 'cannot be reached' }[job.liveness];
  return h('span', { class: `badge ${kind}`, title: doubt }, word, doubt && !hasEnded(job.state) ? ' ?' : '');
}

export function progressBar(job) {
  const step = Number(job.progress?.step ?? 0), total = Number(job.progress?.total_steps ?? 0);
  if (!step && !total) return null;
  const bar = h('progress', { max: String(total || 1), value: total ? step : 0, 'aria-label': 'Progress' });
  return h('span', { class: 'advance' }, bar, h('span', {}, total ? `${whole(step)} / ${whole(total)}` : whole(step)));
}

function what(job) {
  if (job.state === 'QUEUED' || job.state === 'STARTING') {
    const { position, message } = job.pending ?? {};
    return h('span', { class: 'why' }, position ? h('b', {}, `${position}. `) : '', message ?? '');
  }
  if (job.state === 'FAILED') return h('span', { class: 'why bad' }, job.failure?.message ?? '');
  return progressBar(job);
}

export async function showJobs(view) {
  view.title('Jobs');
  const jobs = new Map();
  const chosen = new Set();
  let next = '', shown = address.current().query.get('filter') ?? '', endWatch = () => {}, fresh = 0;

  const field = h('input', { type: 'search', id: 'filter', value: shown, placeholder: 'name, or state = RUNNING AND labels.team = vision',
    'aria-label': 'Filter', spellcheck: 'false' });
  const error = h('p', { class: 'error', role: 'alert' });
  const rows = h('tbody', {});
  const count = h('span', { class: 'quiet', role: 'status' });
  const more = h('button', { type: 'button', hidden: true, onclick: () => load(true) }, 'More');
  const compare = h('a', { class: 'button', href: '/compare', hidden: true }, 'Compare');
  const newer = h('button', { type: 'button', class: 'small', hidden: true, onclick: () => load(false) });
  const chips = h('div', { class: 'chips', role: 'group', 'aria-label': 'State' });
  const newJob = h('a', { class: 'button primary', href: '/jobs/new', hidden: true }, 'New job');

  function drawChips() {
    fill(chips, CHOICES.map(([word, filter]) => h('button', { type: 'button', 'data-key': word, 'aria-pressed': String(shown === filter),
      onclick: () => { field.value = filter; load(false); } }, word)));
  }

  function choose(name, on) {
    if (on) chosen.add(name); else chosen.delete(name);
    compare.hidden = chosen.size < 1;
    compare.textContent = `Compare ${chosen.size}`;
    compare.setAttribute('href', address.compareAddress([...chosen]));
  }

  function row(job) {
    const id = shortName(job.name);
    const best = job.evaluation?.best_accuracy ?? job.evaluation?.accuracy;
    return h('tr', { 'data-job': job.name },
      h('td', { class: 'pick' }, h('input', { type: 'checkbox', 'aria-label': `Compare ${id}`, checked: chosen.has(job.name),
        onchange: (event) => choose(job.name, event.target.checked) })),
      h('th', { scope: 'row' }, h('a', { href: address.jobAddress(job.name) }, h('span', { class: 'quiet' }, `${id} `), job.display_name || 'without a name'), jobTags(job)),
      h('td', {}, badge(job)),
      h('td', { class: 'what' }, what(job)),
      h('td', { class: 'figure', 'data-label': 'best accuracy' }, best === undefined ? '' : percent(best)),
      h('td', { class: 'figure', 'data-label': 'time' }, Number.isFinite(spent(job)) ? duration(spent(job)) : ''),
      h('td', { 'data-label': 'by' }, job.submitter),
      h('td', { class: 'figure', 'data-label': 'created' }, clock(job.create_time)));
  }

  const inOrder = () => [...jobs.values()].sort((a, b) => Number(b.name.slice(5)) - Number(a.name.slice(5)));
  // Rows that are there stay, so that what holds the focus in them keeps it; their order never changes.
  function draw() {
    const there = new Map([...rows.children].map((element) => [element.dataset.job, element]));
    for (const [name, element] of there) if (!jobs.has(name)) element.remove();
    let after = rows.firstElementChild;
    for (const job of inOrder()) {
      const element = there.get(job.name);
      if (element) after = update(element, ...row(job).childNodes).nextElementSibling;
      else rows.insertBefore(row(job), after);
    }
    count.textContent = jobs.size === 0 ? (shown ? 'No job matches.' : 'No job yet.') : `${plural(jobs.size, 'job')}${next ? ', and more' : ''}`;
    more.hidden = !next;
  }

  function take(job) {
    const place = rows.querySelector(`tr[data-job="${CSS.escape(job.name)}"]`);
    if (!jobs.has(job.name)) {
      // One that was not there when the list was read.
      if (!shown) { jobs.set(job.name, job); draw(); } else { newer.hidden = false; newer.textContent = plural(++fresh, 'change'); }
      return;
    }
    jobs.set(job.name, job);
    if (place) update(place, ...row(job).childNodes);
  }

  async function load(goOn) {
    const text = field.value.trim();
    try {
      const filter = filterOf(text);
      const page = await call('JobService/ListJobs', { filter, page_size: PAGE, page_token: goOn ? next : '' }, { signal: view.signal });
      error.textContent = '';
      if (!goOn) { jobs.clear(); fresh = 0; newer.hidden = true; }
      shown = text;
      for (const job of page.jobs ?? []) jobs.set(job.name, job);
      next = page.next_page_token ?? '';
      address.note({ filter: text });
      drawChips();
      draw();
      if (!goOn) watch(filter, page.cursor);
    } catch (failure) {
      if (view.signal.aborted || failure.status === 401) return;
      error.textContent = failure.message;
    }
  }

  function watch(filter, first) {
    endWatch();
    let cursor = first;
    endWatch = follow({ jobs: {
      method: 'JobService/WatchJobs', request: () => ({ filter, cursor }),
      message: (message) => {
        cursor = message.cursor || cursor;
        if (message.change) take(message.change.job);
        if (message.deleted && jobs.delete(message.deleted)) draw();
      },
      end: () => load(false),
    } });
  }
  view.onEnd(() => endWatch());
  // Places in the queue, and the time that passes.
  view.every(5000, async () => {
    const open = [...jobs.values()].some((job) => !hasEnded(job.state));
    if (!open) return;
    const page = await call('JobService/ListJobs', { filter: filterOf(shown), page_size: PAGE }, { signal: view.signal }).catch(() => ({}));
    for (const job of page.jobs ?? []) if (jobs.has(job.name)) take(job);
  });

  const form = h('form', { class: 'filter', role: 'search', onsubmit: (event) => { event.preventDefault(); load(false); } }, field,
    h('button', { type: 'submit' }, 'Filter'));
  fill(view.main, h('div', { class: 'head' }, h('h1', {}, 'Jobs'), h('span', { class: 'actions' }, compare, newJob)),
    h('div', { class: 'bar' }, chips, form), error,
    h('div', { class: 'scroll' }, h('table', { class: 'jobs' }, h('caption', { class: 'unseen' }, 'Jobs'),
      h('thead', {}, h('tr', {}, ['', 'Job', 'State', 'Progress', 'Best acc.', 'Time', 'By', 'Created'].map((name, i) =>
        h('th', { scope: 'col', class: [4, 5, 7].includes(i) ? 'figure' : null }, name || h('span', { class: 'unseen' }, 'Compare'))))), rows)),
    h('div', { class: 'foot' }, count, newer, more));
  drawChips();
  view.known.then(() => { newJob.hidden = !view.submits; }, () => {});
  await load(false);
}
