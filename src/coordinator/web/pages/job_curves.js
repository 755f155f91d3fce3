// Live curves of a job, and where the time of its steps goes.
import { h, svg, fill } from './dom.js';
import { call } from './api.js';
import { note, current } from './address.js';
import { follow } from './live.js';
import { Chart, chooser } from './chart.js';
import { Series, addUpdate, order } from './series.js';
import { hasEnded, number, timeOf } from './format.js';

const BUCKETS = 400, AT_FIRST = 4;
const AT_A_TIME = 24, HELD_FOR = 15_000;  // of the curves that are not near the window
const INTERVAL = '0.25s';  // at which curves grow
const FIRST = ['train/loss', 'test/accuracy', 'train/accuracy', 'test/loss', 'train/learning_rate', 'train/gradient_norm', 'train/images_per_second'];
const PHASES = [['compute', 'time/compute_ms'], ['statistics', 'time/statistics_ms'], ['gradients', 'time/gradients_ms'], ['data', 'time/data_ms']];

const rank = (name) => { const at = FIRST.indexOf(name); return at < 0 ? FIRST.length + (name.startsWith('time/') ? 1 : 0) : at; };
export const inOrder = (names) => [...names].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));

// Of a job, for axes of epochs and of time.
export function runOf(job) {
  const progress = job?.progress ?? {};
  return { stepsPerEpoch: Number(progress.step) / Number(progress.epoch) || 0, start: timeOf(job?.start_time) };
}

// `newest`: of each series.
function phases(newest) {
  const parts = PHASES.map(([word, name], i) => [word, newest.get(name), i]).filter(([, value]) => Number.isFinite(value));
  const total = parts.reduce((sum, [, value]) => sum + value, 0);
  if (!total) return null;
  let at = 0;
  const bars = parts.map(([word, value, i]) => {
    const rect = svg('rect', { class: `fill c${i}`, x: at * 100 / total, y: 0, width: value * 100 / total, height: 10 });
    at += value;
    return rect;
  });
  return [h('h2', {}, 'A step'), svg('svg', { class: 'phases', viewBox: '0 0 100 10', preserveAspectRatio: 'none', role: 'img',
    'aria-label': `A step takes ${number(total, 3)} ms` }, bars),
    h('ul', { class: 'keys' }, parts.map(([word, value, i]) => h('li', { class: `key c${i}` }, `${word} ${number(value, 3)} ms`)),
      h('li', { class: 'quiet' }, `${number(total, 3)} ms in all`))];
}

export async function showCurves(view, name, body, state) {
  const known = new Map();     // series by name
  const newest = new Map();    // their last values, also of those that are not drawn yet
  const charts = new Map();    // by name
  const wanted = new Set();    // names whose curves are asked for
  let watched = '', cursor = '', endWatch = () => {};
  const choice = chooser(() => charts.forEach((chart) => chart.changed()));
  const step = h('div', { class: 'step' }), grid = h('div', { class: 'charts' });
  const filter = h('input', { type: 'search', placeholder: 'series', 'aria-label': 'Series to show', value: current().query.get('series') ?? '', oninput: () => { note({ series: filter.value }); hide(); } });
  const none = h('p', { class: 'quiet' }, 'No metrics yet.');
  fill(body, h('div', { class: 'bar' }, choice.elements, filter), step, none, grid);

  const run = () => runOf(state.job);
  function hide() {
    for (const [series, chart] of charts) chart.element.hidden = !series.includes(filter.value.trim());
  }

  const seen = new IntersectionObserver((entries) => {
    const names = entries.filter((entry) => entry.isIntersecting).map((entry) => entry.target.dataset.series).filter((series) => !wanted.has(series));
    // What fails is asked for again when it comes near again; a view that is left ends what it asks for.
    if (names.length > 0) load(names).catch(() => {});
  }, { rootMargin: '300px' });
  view.onEnd(() => { seen.disconnect(); charts.forEach((chart) => chart.destroy()); endWatch(); });

  function place(names) {
    none.hidden = names.length > 0 || charts.size > 0;
    const fresh = inOrder(names).filter((series) => !charts.has(series));
    for (const series of fresh) {
      const chart = new Chart(series, { chosen: choice.chosen });
      chart.element.dataset.series = series;
      charts.set(series, chart);
    }
    if (fresh.length === 0) return;
    grid.append(...inOrder(charts.keys()).map((series) => charts.get(series).element));
    hide();
    for (const series of fresh) seen.observe(charts.get(series).element);
  }

  async function load(names) {
    names.forEach((series) => wanted.add(series));
    const answer = await call('MetricsService/QueryMetrics', { job: name, names, max_buckets: BUCKETS }, { signal: view.signal }).catch((error) => {
      if (!view.signal.aborted) names.forEach((series) => wanted.delete(series));
      throw error;
    });
    for (const one of answer.series ?? []) {
      const series = new Series(one, answer.cursor);
      known.set(series.name, series);
      charts.get(series.name)?.setLines([{ label: series.name, series, color: 0, run: run() }]);
    }
    performance.mark('syncbn-curves');
    if (!cursor || order(answer.cursor) < order(cursor)) cursor = answer.cursor;
    watch();
  }

  // The others are there when the page is printed, which does not wait for them: asked for a few at a time, and
  // not watched.
  let held = '';
  async function hold() {
    const names = inOrder(charts.keys()).filter((series) => !wanted.has(series));
    for (let at = 0; at < names.length; at += AT_A_TIME) {
      const answer = await call('MetricsService/QueryMetrics', { job: name, names: names.slice(at, at + AT_A_TIME), max_buckets: BUCKETS }, { signal: view.signal });
      for (const one of answer.series ?? []) {
        if (!wanted.has(one.name)) charts.get(one.name)?.hold([{ label: one.name, series: new Series(one, answer.cursor), color: 0, run: run() }]);
      }
    }
    held = state.job?.state;
  }

  // One stream for all that is shown; it begins anew when more is.
  function watch() {
    const names = [...known.keys()].sort();
    if (names.join() === watched) return;
    watched = names.join();
    endWatch();
    endWatch = follow({ metrics: {
      method: 'MetricsService/WatchMetrics', request: () => ({ job: name, names, cursor, interval: INTERVAL }),
      message: (message) => {
        if (message.update) {
          const grown = addUpdate(message.update, cursor, message.cursor, known);
          for (const series of grown) charts.get(series)?.changed();
          for (const series of grown) newest.set(series, known.get(series).newest);
          if ([...grown].some((series) => series.startsWith('time/'))) fill(step, phases(newest));
        }
        cursor = message.cursor || cursor;
      },
      end: (status) => {
        if (status.reason !== 'CURSOR_TOO_OLD') return;
        watched = cursor = '';
        load([...wanted]).catch(() => {});
      },
    } });
  }

  // Names that a job reports first later on.
  async function look() {
    const answer = await call('MetricsService/ListSeries', { job: name }, { signal: view.signal });
    for (const series of answer.series ?? []) newest.set(series.name, Number(series.last_value ?? 0));
    fill(step, phases(newest));
    place([...newest.keys()]);
  }
  view.every(3000, () => { if (!hasEnded(state.job?.state) || charts.size === 0) look().catch(() => {}); });
  view.every(HELD_FOR, () => { if (!hasEnded(state.job?.state)) hold().catch(() => {}); });
  state.onChange(() => {
    if (hasEnded(state.job?.state) && held !== state.job.state) hold().catch(() => {});
    // Of a job that has just begun neither is known.
    for (const chart of charts.values()) for (const line of chart.lines) Object.assign(line.run, run());
  });
  await look();
  // Those that are seen at once; the others are asked for when they come near.
  const first = inOrder(newest.keys()).slice(0, AT_FIRST).filter((series) => !wanted.has(series));
  if (first.length > 0) await load(first);
  await hold();
}
