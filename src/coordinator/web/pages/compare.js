// Any number of runs beside each other: curves, what differs between their run files, and results over
// seeds.
import { h, fill, table } from './dom.js';
import { all, call } from './api.js';
import { current, note } from './address.js';
import { Chart, chooser } from './chart.js';
import { Series } from './series.js';
import { hasEnded, plural, shortName } from './format.js';
import { inOrder, runOf } from './job_curves.js';
import { differences, inWords, results, settingsOf } from './compare_table.js';

const MOST_RUNS = 200, BUCKETS = 300, AT_ONCE = 8, EVERY = 2000;

// `work` for each of the items, a few at a time.
async function forEach(items, work) {
  const left = [...items];
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, left.length) }, async () => {
    while (left.length > 0) await work(left.shift());
  }));
}

// What somebody has written to name jobs, apart: "12, jobs/13 #17".
const namesIn = (text) => [...new Set((text ?? '').split(/[\s,]+/).map((one) => one.replace(/^(jobs\/|#)/, '')).filter(Boolean))];

// The runs that the address names, by numbers or a filter of jobs, and in sentences what of it is not there.
async function jobsOf(query, signal) {
  const filter = query.get('filter'), notes = [];
  const cut = (found) => {
    if (found.length > MOST_RUNS) notes.push(`These are ${MOST_RUNS} of ${found.length} jobs.`);
    return found.slice(0, MOST_RUNS);
  };
  if (filter) return { jobs: cut(await all('JobService/ListJobs', { filter, page_size: 200, view: 'JOB_VIEW_FULL' }, 'jobs', { signal })).reverse(), notes };
  const names = namesIn(query.get('jobs'));
  for (const name of names.filter((one) => !/^\d+$/.test(one))) notes.push(`“${name.slice(0, 40)}” is not the number of a job.`);
  const numbers = cut(names.filter((one) => /^\d+$/.test(one))), jobs = [];
  await forEach(numbers, async (number) => {
    try {
      jobs.push(await call('JobService/GetJob', { name: `jobs/${number}` }, { signal }));
    } catch (error) {
      if (error.status !== 404 && error.status !== 400) throw error;
      notes.push(`${shortName(number)}: ${error.message}`);
    }
  });
  return { jobs: jobs.sort((a, b) => numbers.indexOf(a.name.slice(5)) - numbers.indexOf(b.name.slice(5))), notes };
}

// Short names that tell runs apart: by what differs, where that is little.
function labelsOf(jobs, differing) {
  // The seed last: it tells the fewest apart.
  const paths = [...differing.filter((path) => path !== 'seed' && !path.startsWith('output')), ...differing.filter((path) => path === 'seed')];
  return new Map(jobs.map((job) => [job.name, `${shortName(job.name)} ${inWords(job, paths, 3) || job.display_name}`]));
}

export async function showCompare(view) {
  view.title('Compare');
  const { query } = current();
  const add = h('input', { type: 'text', inputmode: 'numeric', value: query.get('jobs') ?? '', 'aria-label': 'Numbers of jobs', placeholder: 'numbers of jobs: 12, 13, 17', spellcheck: 'false' });
  const form = h('form', { class: 'filter', onsubmit: (event) => {
    event.preventDefault();
    note({ jobs: namesIn(add.value).join(','), filter: '' });
    view.ended.abort();
    window.dispatchEvent(new PopStateEvent('popstate'));
  } }, add, h('button', { type: 'submit' }, 'Compare'));
  const head = h('div', { class: 'head' }, h('h1', {}, 'Compare'), form);
  const body = h('div', {});
  fill(view.main, head, body);
  const { jobs, notes } = await jobsOf(query, view.signal);
  const missing = notes.length > 0 && h('div', { class: 'panel bad', role: 'status' }, notes.map((one) => h('p', {}, one)));
  if (jobs.length === 0) {
    fill(body, missing, h('p', { class: 'quiet' }, 'Choose jobs in the ', h('a', { href: '/jobs' }, 'list of jobs'), ', or give their numbers.'));
    return;
  }
  for (const job of jobs) job.settings = settingsOf(job.effective_run_file ?? '');
  const differing = differences(jobs);
  const labels = labelsOf(jobs, differing);
  view.title(`Compare ${jobs.length} runs`);

  const series = new Map();   // by job: Map of series by name
  const charts = new Map();   // by name of series
  let names = [];
  const choice = chooser(() => charts.forEach((chart) => chart.changed()));
  const shown = new Set((query.get('series') ?? '').split(',').filter(Boolean));
  const picks = h('div', { class: 'chips', role: 'group', 'aria-label': 'Series' }), grid = h('div', { class: 'charts' }), tables = h('div', {});
  fill(body, missing, h('div', { class: 'bar' }, choice.elements, picks), grid, tables);
  view.onEnd(() => charts.forEach((chart) => chart.destroy()));

  function drawPicks() {
    fill(picks, names.map((name) => h('button', { type: 'button', 'data-key': name, 'aria-pressed': String(shown.has(name)), onclick: () => {
      if (!shown.delete(name)) shown.add(name);
      note({ series: [...shown].join(',') });
      drawPicks();
      load(jobs).catch(() => {});
    } }, name)));
  }

  function draw() {
    for (const [name, chart] of charts) {
      if (shown.has(name)) continue;
      chart.element.remove();
      chart.destroy();
      charts.delete(name);
    }
    for (const name of inOrder(shown)) {
      const lines = jobs.map((job, color) => ({ label: labels.get(job.name), series: series.get(job.name)?.get(name), color, run: runOf(job) })).filter((line) => line.series);
      let chart = charts.get(name);
      if (!chart) charts.set(name, chart = new Chart(name, { chosen: choice.chosen }));
      grid.append(chart.element);
      if (chart.lines.length === lines.length) { chart.lines = lines; chart.changed(); } else chart.setLines(lines);
    }
    fill(tables, results(jobs, differing, series), differing.length > 0 && [h('h2', {}, 'What differs'), differencesTable()]);
  }

  function differencesTable() {
    return table('What differs', ['Setting', ...jobs.map((job) => h('a', { href: `/${job.name}` }, shortName(job.name)))], differing.map((path) =>
      [h('code', {}, path), ...jobs.map((job) => job.settings.get(path) ?? h('span', { class: 'quiet' }, '–'))]));
  }

  async function load(of) {
    const wanted = [...shown];
    if (wanted.length > 0) await forEach(of, async (job) => {
      const answer = await call('MetricsService/QueryMetrics', { job: job.name, names: wanted, max_buckets: BUCKETS }, { signal: view.signal });
      const own = series.get(job.name) ?? new Map();
      for (const one of answer.series ?? []) own.set(one.name, new Series(one, answer.cursor));
      series.set(job.name, own);
    });
    draw();
  }

  const found = new Set();
  await forEach(jobs, async (job) => {
    const answer = await call('MetricsService/ListSeries', { job: job.name }, { signal: view.signal });
    for (const one of answer.series ?? []) found.add(one.name);
  });
  names = inOrder(found);
  if (shown.size === 0) names.slice(0, 4).forEach((name) => shown.add(name));
  drawPicks();
  await load(jobs);
  if (names.length === 0) grid.append(h('p', { class: 'quiet' }, `${plural(jobs.length, 'job')}, and no metrics yet.`));
  view.every(EVERY, async () => {
    const open = jobs.filter((job) => !hasEnded(job.state));
    if (open.length === 0) return;
    await forEach(open, async (job) => Object.assign(job, await call('JobService/GetJob', { name: job.name, view: 'JOB_VIEW_BASIC' }, { signal: view.signal })));
    await load(open);
  });
}
