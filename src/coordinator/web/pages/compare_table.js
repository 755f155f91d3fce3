// What differs between run files, and results of equal runs over their seeds.
import { h, table } from './dom.js';
import { number, percent, shortName, statistics } from './format.js';
import { parseLine } from './job_run_file.js';

// Settings that do not make another experiment of a run.
const ASIDE = /^(name|seed|output(\..*)?)$/;

// Values by path ("train.optimizer.kind") of a run file in effect.
export function settingsOf(text) {
  const settings = new Map();
  const path = [];  // { indent, key }
  const counts = new Map();
  for (const line of text.split('\n')) {
    const { setting } = parseLine(line);
    const [, blanks, dash, rest] = /^(\s*)(- )?(.*)$/.exec(setting);
    if (!rest.trim()) continue;
    const indent = blanks.length;
    while (path.length > 0 && path[path.length - 1].indent >= indent) path.pop();
    const above = path.map((one) => one.key).join('.');
    let key = rest, value = '';
    const split = /^([A-Za-z0-9_]+):(?:\s+(.*))?$/.exec(rest);
    if (split) [, key, value = ''] = split;
    if (dash) {
      const place = counts.get(above) ?? 0;
      counts.set(above, place + 1);
      path.push({ indent, key: String(place) });
      settings.set(path.map((one) => one.key).join('.'), rest.trim());
      continue;
    }
    path.push({ indent, key });
    if (value.trim() !== '') settings.set(path.map((one) => one.key).join('.'), value.trim());
  }
  return settings;
}

// Paths whose values are not all the same.
export function differences(jobs) {
  const paths = new Set(jobs.flatMap((job) => [...job.settings.keys()]));
  return [...paths].filter((path) => new Set(jobs.map((job) => job.settings.get(path))).size > 1);
}

// What a run has of these settings, in few words: each once, without those that it does not have.
export function inWords(job, paths, most) {
  const words = paths.filter((path) => job.settings.has(path)).map((path) => `${path.split('.').pop()} ${job.settings.get(path)}`);
  return [...new Set(words)].slice(0, most).join(', ');
}

const spread = (values, text) => {
  const finite = values.filter(Number.isFinite);
  if (finite.length === 0) return { class: 'figure', content: '–' };
  const { n, mean, spread: deviation, least, greatest } = statistics(finite);
  return { class: 'figure', content: h('span', { title: `${text(least)} to ${text(greatest)}` }, text(mean), n > 1 ? h('span', { class: 'quiet' }, ` ± ${text(deviation)}`) : '') };
};

// Runs that are equal but for their seeds, together: [{ words, jobs }].
export function groupsOf(jobs, differing) {
  const axes = differing.filter((path) => !ASIDE.test(path));
  const groups = new Map();
  for (const job of jobs) {
    const key = JSON.stringify(axes.map((path) => job.settings.get(path) ?? null));
    groups.set(key, [...(groups.get(key) ?? []), job]);
  }
  return [...groups.values()].map((group) => ({ words: inWords(group[0], axes, 6), jobs: group }));
}

// A row for each of them. `curves`: a RunCurves.
export function results(jobs, differing, curves) {
  const rows = groupsOf(jobs, differing).map(({ words, jobs: group }) => [
    { content: words || group[0].display_name },
    { class: 'figure', content: String(group.length) },
    spread(group.map((job) => Number(job.evaluation?.best_accuracy ?? NaN)), percent),
    spread(group.map((job) => Number(job.evaluation?.accuracy ?? NaN)), percent),
    spread(group.map((job) => Number(curves.newest(job, 'train/loss') ?? NaN)), number),
    { content: group.map((job, i) => [i ? ', ' : '', h('a', { href: `/${job.name}` }, shortName(job.name))]) },
  ]);
  return [h('h2', {}, 'Results'), table('Results: mean and standard deviation over seeds', ['Runs', { class: 'figure', content: 'Seeds' },
    { class: 'figure', content: 'Best accuracy' }, { class: 'figure', content: 'Accuracy' }, { class: 'figure', content: 'Train loss' }, 'Jobs'], rows)];
}
