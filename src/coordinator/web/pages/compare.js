// Any number of runs beside each other: curves, what differs between their run files, and results over
// seeds.
import { h, fill, table } from './dom.js';
import { all, call } from './api.js';
import { current, note } from './address.js';
import { hasEnded, plural, shortName } from './format.js';
import { RunCurves, forEach } from './run_curves.js';
import { differences, groupsOf, inWords, results, settingsOf } from './compare_table.js';

const MOST_RUNS = 200, EVERY = 2000;

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

  const curves = new RunCurves(view);
  curves.setRuns(groupsOf(jobs, differing).map((group) => ({ label: group.words || group.jobs[0].display_name, jobs: group.jobs })), labels);
  for (const name of (query.get('series') ?? '').split(',').filter(Boolean)) curves.shown.add(name);
  const picks = h('span', {}), tables = h('div', {});
  fill(body, missing, h('div', { class: 'bar' }, curves.tools, picks), curves.grid, tables);

  const drawTables = () => fill(tables, results(jobs, differing, curves), differing.length > 0 && [h('h2', {}, 'What differs'), differencesTable()]);

  function differencesTable() {
    return table('What differs', ['Setting', ...jobs.map((job) => h('a', { href: `/${job.name}` }, shortName(job.name)))], differing.map((path) =>
      [h('code', {}, path), ...jobs.map((job) => job.settings.get(path) ?? h('span', { class: 'quiet' }, '–'))]));
  }

  async function load(of) {
    await curves.load(of);
    drawTables();
  }

  const names = await curves.namesOf(jobs);
  if (curves.shown.size === 0) names.slice(0, 4).forEach((name) => curves.shown.add(name));
  fill(picks, curves.picks(names, () => {
    note({ series: [...curves.shown].join(',') });
    load(jobs).catch(() => {});
  }));
  await load(jobs);
  if (names.length === 0) curves.grid.append(h('p', { class: 'quiet' }, `${plural(jobs.length, 'job')}, and no metrics yet.`));
  view.every(EVERY, async () => {
    const open = jobs.filter((job) => !hasEnded(job.state));
    if (open.length === 0) return;
    await forEach(open, async (job) => Object.assign(job, await call('JobService/GetJob', { name: job.name, view: 'JOB_VIEW_BASIC' }, { signal: view.signal })));
    await load(open);
  });
}
