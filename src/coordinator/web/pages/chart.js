// One chart of curves over step, epoch or time, drawn by dygraphs: the mean, and a band from the least
// to the greatest of what a bucket holds. The library gets numbers only; names stand beside it.
import { h, fill } from './dom.js';
import { current, note } from './address.js';
import { number, clock, duration, plural } from './format.js';

export const COLORS = 6;
const DASHES = [null, [7, 3], [2, 3], [9, 3, 2, 3], [4, 2], [12, 4]];

// Without its legend, which writes HTML and styles.
const { Dygraph } = window;
const plugins = Dygraph.PLUGINS.filter((plugin) => ['Axes Plugin', 'Gridline Plugin'].includes(plugin.prototype.toString()));
Dygraph.PLUGINS = plugins;

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const charts = new Set();
const redrawAll = () => charts.forEach((chart) => chart.recolor());
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redrawAll);
for (const [event, on] of [['beforeprint', true], ['afterprint', false]]) {
  window.addEventListener(event, () => {
    document.documentElement.toggleAttribute('data-print', on);
    charts.forEach((chart) => { if (on && chart.lines.length > 0 && !chart.dygraph) chart.draw(); else chart.recolor(); });
  });
}

export const AXES = {
  step: { title: 'step', of: (series, i) => series.step[i], text: (x) => number(x, 7) },
  epoch: { title: 'epoch', of: (series, i, run) => series.step[i] / (run.stepsPerEpoch || 1), text: (x) => number(x, 4) },
  time: { title: 'time since start', of: (series, i, run) => (series.time[i] - run.start) / 1000, text: duration },
  clock: { title: 'time', of: (series, i) => series.time[i], text: (x) => clock(new Date(x).toISOString()) },
};

// What curves are drawn over, how smooth, and which charts have a logarithmic scale, chosen beside them and kept in
// the address; `changed` hears of the first two.
export function chooser(changed) {
  const { query } = current();
  const chosen = { axis: query.get('x') in AXES ? query.get('x') : 'step', smooth: Math.min(Math.max(Number(query.get('smooth')) || 0, 0), 0.99),
    log: new Set((query.get('logscale') ?? '').split(',').filter(Boolean)) };
  const axis = h('select', { 'aria-label': 'Over', onchange: () => { chosen.axis = axis.value; note({ x: axis.value === 'step' ? '' : axis.value }); changed(); } },
    [['step', 'over steps'], ['epoch', 'over epochs'], ['time', 'over time']].map(([value, word]) => h('option', { value, selected: value === chosen.axis }, word)));
  const smooth = h('input', { type: 'range', min: '0', max: '0.99', step: '0.01', value: chosen.smooth, 'aria-label': 'Smoothing',
    oninput: () => { chosen.smooth = Number(smooth.value); note({ smooth: chosen.smooth || '' }); changed(); } });
  return { chosen, elements: [axis, h('label', { class: 'check' }, 'smooth', smooth)] };
}

// An exponential average of a series, without the weight of a beginning that is not there.
function smoothed(values, weight) {
  let sum = 0, all = 0;
  return values.map((value) => {
    if (!Number.isFinite(value)) return value;
    sum = weight * sum + value;
    all = weight * all + 1;
    return sum / all;
  });
}

// lines: [{ label, series, color (0...), run: { stepsPerEpoch, start } }]
export class Chart {
  constructor(title, options = {}) {
    // As a chooser has it: shared with other charts.
    this.chosen = options.chosen ?? { axis: 'step', smooth: 0, log: new Set() };
    this.title = title;
    this.lines = [];
    this.wrong = new Set();  // where a line is not finite
    this.plot = h('div', { class: 'plot', tabindex: '0', role: 'img' });
    this.legend = h('div', { class: 'legend' });
    this.readout = h('output', { class: 'readout', title: 'Steps count from 0' });
    this.reset = h('button', { type: 'button', class: 'small', hidden: true, onclick: () => this.dygraph?.resetZoom() }, 'Whole');
    this.scale = h('button', { type: 'button', class: 'small', 'aria-pressed': String(this.log), title: 'Logarithmic scale', 'aria-label': 'log scale', onclick: () => this.setLog(!this.log) }, 'log');
    this.element = h('figure', { class: 'chart' },
      h('figcaption', {}, h('span', { class: 'title' }, title), this.readout, h('span', { class: 'tools' }, this.reset, this.scale)),
      this.legend, this.plot);
    this.plot.addEventListener('keydown', (event) => this.key(event));
    charts.add(this);
  }

  destroy() {
    charts.delete(this);
    this.dygraph?.destroy();
    this.dygraph = null;
  }

  setLines(lines) {
    this.hold(lines);
    this.draw();
  }

  // Lines that are drawn when the chart is printed, or given ones to draw.
  hold(lines) {
    this.lines = lines;
    this.shape = null;
  }

  // Draws what the lines hold now, at the next frame.
  changed() {
    if (this.waits) return;
    this.waits = true;
    requestAnimationFrame(() => {
      this.waits = false;
      if (charts.has(this)) this.draw();
    });
  }

  rows() {
    const { of } = AXES[this.chosen.axis];
    const width = this.lines.length;
    const byX = new Map();
    this.wrong.clear();
    this.lines.forEach(({ series, run }, line) => {
      const mean = this.chosen.smooth > 0 ? smoothed(series.mean, this.chosen.smooth) : series.mean;
      for (let i = 0; i < series.length; ++i) {
        const x = of(series, i, run ?? {});
        if (!Number.isFinite(x)) continue;
        let row = byX.get(x);
        if (!row) byX.set(x, row = [x, ...Array(width).fill(null)]);
        row[line + 1] = Number.isFinite(mean[i]) ? [series.low[i], mean[i], series.high[i]] : [null, null, null];
        if (series.bad[i] > 0) this.wrong.add(x);
      }
    });
    return [...byX.values()].sort((a, b) => a[0] - b[0]);
  }

  draw() {
    const lines = this.lines.filter((line) => line.series.length > 0);
    this.plot.classList.toggle('empty', lines.length === 0);
    if (lines.length === 0) return;
    const rows = this.rows();
    this.table = rows;
    const shape = this.lines.map((line) => line.color).join() + this.chosen.axis + this.log;
    if (this.dygraph && this.shape === shape) {
      this.dygraph.updateOptions({ file: rows });
    } else {
      this.dygraph?.destroy();
      this.shape = shape;
      this.dygraph = new Dygraph(this.plot, rows, this.options());
      fill(this.legend, this.lines.length < 2 ? [] : this.lines.map((line, i) => this.entry(line, i)));
    }
    this.describe();
  }

  options() {
    const { text } = AXES[this.chosen.axis];
    return {
      labels: ['x', ...this.lines.map((_, i) => `s${i}`)],
      customBars: true, connectSeparatedPoints: true, logscale: this.log, animatedZooms: false,
      ...this.looks(),
      series: Object.fromEntries(this.lines.map((line, i) => [`s${i}`, { strokePattern: DASHES[Math.floor(line.color / COLORS) % DASHES.length] }])),
      strokeWidth: 1.7, fillAlpha: 0.16, highlightCircleSize: 4, xRangePad: 4, yRangePad: 8, axisLabelFontSize: 11,
      rightGap: 8,
      axes: { x: { axisLabelFormatter: (x) => plain(text(x)), pixelsPerLabel: 64 },
        y: { axisLabelFormatter: (y, granularity, of, dygraph) => plain(number(y, this.digits(dygraph))), axisLabelWidth: 52, pixelsPerLabel: 32 } },
      underlayCallback: (context, area, dygraph) => this.mark(context, area, dygraph),
      highlightCallback: (event, x, points, row) => this.show(row),
      unhighlightCallback: () => this.describe(),
      zoomCallback: () => { this.reset.hidden = !this.dygraph.isZoomed(); },
    };
  }

  looks() {
    return { colors: this.lines.map((line) => css(`--c${line.color % COLORS}`)), gridLineColor: css('--rule'), axisLineColor: css('--axis') };
  }

  // Digits by which the labels of the vertical axis differ.
  digits(dygraph) {
    const [low, high] = dygraph.yAxisRange();
    const parts = 10 * Math.max(Math.abs(low), Math.abs(high)) / (high - low);
    return this.log || !Number.isFinite(parts) ? 3 : Math.max(3, Math.min(7, Math.ceil(Math.log10(parts)) + 1));
  }

  // Where points are infinite or not a number: a line from the bottom, as they have no height.
  mark(context, area, dygraph) {
    context.fillStyle = css('--bad');
    for (const x of this.wrong) {
      const at = dygraph.toDomXCoord(x);
      if (at >= area.x && at <= area.x + area.w) context.fillRect(at - 0.75, area.y + area.h - 14, 1.5, 14);
    }
  }

  recolor() {
    if (!this.dygraph) return;
    this.dygraph.updateOptions(this.looks());
  }

  entry(line, i) {
    return h('button', { type: 'button', class: `key c${line.color % COLORS} d${Math.floor(line.color / COLORS)}`, 'aria-pressed': 'true',
      onclick: (event) => {
        const shown = event.currentTarget.getAttribute('aria-pressed') !== 'true';
        event.currentTarget.setAttribute('aria-pressed', String(shown));
        this.dygraph.setVisibility(i, shown);
      } }, line.label);
  }

  get log() { return this.chosen.log.has(this.title); }

  setLog(on) {
    const { log } = this.chosen;
    if (on) log.add(this.title); else log.delete(this.title);
    note({ logscale: [...log].sort().join(',') });
    this.scale.setAttribute('aria-pressed', String(on));
    this.draw();
  }

  describe() {
    const parts = this.lines.filter((line) => line.series.length > 0).map((line) => {
      const { series } = line;
      const bad = series.bad.reduce((sum, n) => sum + n, 0);
      const text = `${number(series.newest)} at step ${number(series.step[series.length - 1], 7)}${bad > 0 ? `; ${plural(bad, 'point')} not finite, the first at step ${series.step[series.bad.findIndex((n) => n > 0)]}` : ''}`;
      return this.lines.length > 1 ? `${line.label}: ${text}` : text;
    });
    this.readout.textContent = this.lines.length === 1 ? parts[0] ?? '' : '';
    this.element.dataset.newest = Math.max(...this.lines.map((line) => line.series.time[line.series.length - 1] ?? 0));
    this.plot.setAttribute('aria-label', `${this.title}: ${parts.join('; ')}`);
    this.row = undefined;
  }

  show(row) {
    const found = this.table?.[row];
    if (!found) return;
    this.row = row;
    const values = this.lines.map((line, i) => {
      const bar = found[i + 1];
      if (bar && bar[1] === null && this.wrong.has(found[0])) return `${this.lines.length > 1 ? `${line.label} ` : ''}not finite`;
      if (!bar || bar[1] === null) return null;
      const spread = bar[0] === bar[2] ? '' : ` (${number(bar[0])} to ${number(bar[2])})`;
      return `${this.lines.length > 1 ? `${line.label} ` : ''}${number(bar[1])}${spread}`;
    }).filter(Boolean);
    this.readout.textContent = `${AXES[this.chosen.axis].title} ${AXES[this.chosen.axis].text(found[0])}: ${values.join(', ')}`;
  }

  key(event) {
    if (!this.table) return;
    const to = { ArrowRight: (this.row ?? -1) + 1, ArrowLeft: (this.row ?? this.table.length) - 1, Home: 0, End: this.table.length - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      const row = Math.max(0, Math.min(to, this.table.length - 1));
      this.dygraph.setSelection(row);
      this.show(row);
    } else if (event.key === 'Escape') {
      this.dygraph.clearSelection();
      this.dygraph.resetZoom();
      this.describe();
    }
  }
}

// What the library puts beside its axes.
function plain(text) {
  return String(text).replace(/[<&]/g, '');
}
