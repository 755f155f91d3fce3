// Curves of any number of runs, a chart for each series: each run's own, or of runs that differ in their seeds
// alone the mean and the range.
import { h, fill } from './dom.js';
import { call } from './api.js';
import { current, note } from './address.js';
import { Chart, chooser } from './chart.js';
import { SeedMean } from './seed_mean.js';
import { Series } from './series.js';
import { hasEnded, plural } from './format.js';
import { inOrder, runOf } from './job_curves.js';

const BUCKETS = 300, AT_ONCE = 8;

// `work` for each of the items, a few at a time.
export async function forEach(items, work) {
  const left = [...items];
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, left.length) }, async () => {
    while (left.length > 0) await work(left.shift());
  }));
}

export class RunCurves {
  constructor(view) {
    this.view = view;
    this.jobs = [];
    this.groups = [];           // [{ label, jobs }]: those that differ in the seed alone
    this.labels = new Map();    // by the name of a job
    this.shown = new Set();     // names of series
    this.series = new Map();    // by job: Map of series by name
    this.charts = new Map();    // by name of series
    this.choice = chooser(() => this.charts.forEach((chart) => chart.changed()));
    this.single = current().query.get('seeds') === 'single';
    this.seeds = h('select', { 'aria-label': 'Seeds', onchange: () => {
      this.single = this.seeds.value === 'single';
      note({ seeds: this.single ? 'single' : '' });
      this.draw();
    } }, [['mean', 'mean and min–max of seeds'], ['single', 'each run']].map(([value, word]) =>
      h('option', { value, selected: (value === 'single') === this.single }, word)));
    this.tools = h('span', { class: 'tools-of-curves' }, this.choice.elements, this.seeds);
    this.grid = h('div', { class: 'charts' });
    view.onEnd(() => this.charts.forEach((chart) => chart.destroy()));
  }

  // `groups`: [{ label, jobs }], of which each of the jobs is in one; `labels`: of the jobs, by name.
  setRuns(groups, labels) {
    this.groups = groups;
    this.labels = labels;
    this.jobs = groups.flatMap((group) => group.jobs);
    this.seeds.hidden = !groups.some((group) => group.jobs.length > 1);
  }

  newest(job, name) { return this.series.get(job.name)?.get(name)?.newest; }

  linesOf(name) {
    const own = (job) => this.series.get(job.name)?.get(name);
    if (this.single || this.seeds.hidden) {
      return this.jobs.map((job, color) => ({ label: this.labels.get(job.name), series: own(job), color, run: runOf(job) })).filter((line) => line.series);
    }
    return this.groups.map(({ label, jobs }, color) => {
      const members = jobs.map((job) => ({ series: own(job), run: runOf(job), ended: hasEnded(job.state) })).filter(({ series }) => series?.length > 0);
      if (members.length === 0) return null;
      return { label: `${label} (${plural(members.length, 'seed')})`, series: new SeedMean(members), color, run: { ...members[0].run, start: 0 } };
    }).filter(Boolean);
  }

  draw() {
    for (const [name, chart] of this.charts) {
      if (this.shown.has(name)) continue;
      chart.element.remove();
      chart.destroy();
      this.charts.delete(name);
    }
    for (const name of inOrder(this.shown)) {
      const lines = this.linesOf(name);
      let chart = this.charts.get(name);
      if (!chart) {
        this.charts.set(name, chart = new Chart(name, { chosen: this.choice.chosen }));
        chart.element.dataset.series = name;
      }
      this.grid.append(chart.element);
      const same = chart.lines.length === lines.length && chart.lines.every((line, i) => line.label === lines[i].label);
      if (same) { chart.lines = lines; chart.changed(); } else chart.setLines(lines);
    }
  }

  // Asks for the curves of these jobs, and draws.
  async load(jobs) {
    const names = [...this.shown];
    if (names.length > 0) await forEach(jobs, async (job) => {
      const answer = await call('MetricsService/QueryMetrics', { job: job.name, names, max_buckets: BUCKETS }, { signal: this.view.signal });
      const own = this.series.get(job.name) ?? new Map();
      for (const one of answer.series ?? []) own.set(one.name, new Series(one, answer.cursor));
      this.series.set(job.name, own);
    });
    this.draw();
  }

  // Names of all that these jobs have reported.
  async namesOf(jobs) {
    const found = new Set();
    await forEach(jobs, async (job) => {
      const answer = await call('MetricsService/ListSeries', { job: job.name }, { signal: this.view.signal });
      for (const one of answer.series ?? []) found.add(one.name);
    });
    return inOrder(found);
  }

  // Which of the series are shown; `changed` hears of it.
  picks(names, changed) {
    const place = h('div', { class: 'chips', role: 'group', 'aria-label': 'Series' });
    const draw = () => fill(place, names.map((name) => h('button', { type: 'button', 'data-key': name, 'aria-pressed': String(this.shown.has(name)), onclick: () => {
      if (!this.shown.delete(name)) this.shown.add(name);
      draw();
      changed();
    } }, name)));
    draw();
    return place;
  }
}
