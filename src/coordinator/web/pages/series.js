// A series of points as a page holds it: buckets as the coordinator thinned them out, then points as
// they come.

const MOST = 1200;  // buckets that are kept; twice as many before they are thinned out

const last = (array) => array[array.length - 1];

export class Series {
  // `answer`: a Series of metrics.proto; `cursor`: of the same answer.
  constructor(answer, cursor) {
    this.name = answer.name;
    this.rank = answer.rank ?? 0;
    this.since = order(cursor);
    this.first = (answer.first_step ?? []).map(Number);
    this.step = (answer.last_step ?? []).map(Number);
    this.mean = (answer.mean ?? []).map(Number);
    this.low = (answer.min ?? []).map(Number);
    this.high = (answer.max ?? []).map(Number);
    this.count = (answer.count ?? []).map(Number);
    this.bad = (answer.non_finite ?? []).map(Number);  // points that are infinite or not a number
    this.time = (answer.time_us ?? []).map((us) => Number(us) / 1000);
    this.until = last(this.time) ?? 0;
  }

  get length() { return this.step.length; }
  get newest() { return last(this.mean); }

  add(step, value, milliseconds) {
    // A later attempt did these steps again: what it reports counts.
    while (this.step.length > 0 && last(this.step) >= step) {
      for (const column of this.columns()) column.pop();
    }
    this.first.push(step);
    this.step.push(step);
    this.mean.push(value);
    this.low.push(value);
    this.high.push(value);
    this.count.push(1);
    this.bad.push(Number.isFinite(value) ? 0 : 1);
    this.time.push(milliseconds);
    if (this.step.length > 2 * MOST) this.thin();
  }

  columns() { return [this.first, this.step, this.mean, this.low, this.high, this.count, this.bad, this.time]; }

  // Two neighbours become one; the newest stay as they are.
  thin() {
    const kept = this.columns().map(() => []);
    for (let i = 0; i < this.step.length; i += 2) {
      const j = Math.min(i + 1, this.step.length - 1);
      const both = [...new Set([i, j])], finite = both.filter((k) => Number.isFinite(this.mean[k]));
      const sum = (column) => both.reduce((all, k) => all + column[k], 0);
      const weight = finite.reduce((all, k) => all + this.count[k] - this.bad[k], 0);
      const mean = finite.reduce((all, k) => all + this.mean[k] * (this.count[k] - this.bad[k]), 0) / weight;
      [this.first[i], this.step[j], mean, Math.min(...finite.map((k) => this.low[k])), Math.max(...finite.map((k) => this.high[k])), sum(this.count),
        sum(this.bad), this.time[j]].forEach((value, k) => kept[k].push(value));
    }
    [this.first, this.step, this.mean, this.low, this.high, this.count, this.bad, this.time] = kept;
  }
}

// Cursors of metrics are numbered in the order of what they stand behind.
export function order(cursor) {
  return Number((cursor ?? '').replace(/^\D*/, '')) || 0;
}

// Adds a MetricUpdate to the series that it is about (a Map by name); the names that have grown. It holds
// what came between the two cursors. A series that was asked for in between has a part of it: by the time.
export function addUpdate(update, previous, cursor, known) {
  const grown = new Set();
  const batch = update.batch ?? {};
  const from = order(previous), to = order(cursor);
  (batch.name_index ?? []).forEach((index, i) => {
    const series = known.get(batch.names[index]);
    if (!series || series.since >= to || (update.rank ?? 0) !== series.rank) return;
    const time = Number(batch.time_us[i]) / 1000;
    if (series.since > from && time <= series.until) return;
    series.add(Number(batch.step[i]), Number(batch.value[i]), time);
    grown.add(series.name);
  });
  return grown;
}
