// Curves of a study's trials: those of a cell, which differ in their seeds, as a mean and a range.
import { h, fill } from './dom.js';
import { hasEnded, plural, shortName } from './format.js';
import { axisLabels } from './job_tags.js';
import { RunCurves } from './run_curves.js';

const SERIES = ['test/accuracy', 'train/loss'];
const AT_ONCE = 60, MOST = 400;  // trials whose curves are shown by themselves, and when they are asked for
const EVERY = 5000;

const words = (labels) => Object.entries(labels).map(([axis, value]) => `${axis} ${value}`).join(', ') || 'all';

// Trials of the same cell, which differ in their seeds: [{ labels, jobs }]; `apart`: and in what is tuned.
export function cellsOf(jobs, apart) {
  const found = new Map();
  for (const job of jobs) {
    const labels = { ...axisLabels(job), ...(apart && job.labels?.tuned ? { tuned: job.labels.tuned } : {}) };
    const key = JSON.stringify(Object.entries(labels).sort());
    if (!found.has(key)) found.set(key, { labels, jobs: [] });
    found.get(key).jobs.push(job);
  }
  return [...found.values()];
}

// The place of the curves, and what is told of the jobs as they are.
export function studyCurves(view) {
  const curves = new RunCurves(view);
  SERIES.forEach((name) => curves.shown.add(name));
  const ask = h('button', { type: 'button', hidden: true, onclick: () => { wanted = true; ask.hidden = true; look(); } });
  const bar = h('div', { class: 'bar', hidden: true }, curves.tools), place = h('div', {}, ask, bar, curves.grid);
  const whole = new Set();  // jobs that had ended when they were asked for
  let jobs = [], wanted = false, busy = false;

  async function look() {
    if (busy || !wanted || jobs.length === 0) return;
    busy = true;
    const open = jobs.filter((job) => !whole.has(job.name));
    try {
      await curves.load(open);
      for (const job of open) if (hasEnded(job.state)) whole.add(job.name);
      bar.hidden = false;
    } finally { busy = false; }
  }
  view.every(EVERY, () => { if (jobs.some((job) => !whole.has(job.name))) look().catch(() => {}); });
  return { place, changed: (now) => {
    const first = jobs.length === 0;
    jobs = now.slice(0, MOST);
    curves.setRuns(cellsOf(jobs, true).map((cell) => ({ label: words(cell.labels), jobs: cell.jobs })),
      new Map(jobs.map((job) => [job.name, `${shortName(job.name)} ${words(axisLabels(job))}, seed ${job.labels?.seed ?? '?'}`])));
    wanted = wanted || jobs.length <= AT_ONCE;
    ask.hidden = wanted;
    fill(ask, `Show the curves of ${plural(jobs.length, 'trial')}`);
    if (first) look().catch(() => {});
  } };
}
