// Curves of runs that differ in their seeds alone, as one curve: their mean at each step, and a band from the
// least to the greatest of them.

const MOST = 600;  // steps

// Where `step` lies among the points of a series: those before and behind it, and how far it is between them.
function between(series, step) {
  const { step: at, length } = series;
  if (length === 0 || step < at[0] || step > at[length - 1]) return null;
  let low = 0, high = length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (at[middle] < step) low = middle + 1; else high = middle;
  }
  if (at[low] === step) return [low, low, 0];
  return [low - 1, low, (step - at[low - 1]) / (at[low] - at[low - 1])];
}

const mixed = (column, [before, behind, share]) => column[before] + share * (column[behind] - column[before]);

function stepsOf(members) {
  // As far as all have come that go on; one that has ended early is missing from there.
  const until = Math.min(...members.filter(({ ended }) => !ended).map(({ series }) => series.step[series.length - 1] ?? -Infinity));
  const steps = [...new Set(members.flatMap(({ series }) => series.step))].filter((step) => step <= until).sort((a, b) => a - b);
  const stride = Math.ceil(steps.length / MOST);
  return steps.filter((_, i) => (steps.length - 1 - i) % stride === 0);
}

// As a chart takes a series. `members`: [{ series, run: { start }, ended }]
export class SeedMean {
  constructor(members) {
    this.step = [];
    this.mean = [];
    this.low = [];
    this.high = [];
    this.bad = [];    // runs that are not finite there, which the mean leaves out
    this.time = [];   // since the start of each, on average
    for (const step of stepsOf(members)) {
      const there = members.map((member) => ({ ...member, place: between(member.series, step) })).filter(({ place }) => place);
      if (there.length === 0) continue;
      const values = there.map(({ series, place }) => mixed(series.mean, place)).filter(Number.isFinite);
      const average = (all) => all.reduce((sum, value) => sum + value, 0) / all.length;
      this.step.push(step);
      this.mean.push(values.length > 0 ? average(values) : NaN);
      this.low.push(values.length > 0 ? Math.min(...values) : NaN);
      this.high.push(values.length > 0 ? Math.max(...values) : NaN);
      this.bad.push(there.length - values.length);
      this.time.push(average(there.map(({ series, place, run }) => mixed(series.time, place) - run.start)));
    }
  }

  get length() { return this.step.length; }
  get newest() { return this.mean[this.mean.length - 1]; }
}
