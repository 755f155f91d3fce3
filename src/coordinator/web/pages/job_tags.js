// What a job is told apart by beside its name: its labels, and what it changes of its run file.
import { h } from './dom.js';

// Labels that the trials of a study have beside those of its axes.
const OF_TRIALS = new Set(['study', 'trial', 'seed', 'tuned']);
const MOST = 6;

// A study's own digest of a trial tells people nothing.
const labels = (job) => Object.entries(job.labels ?? {}).filter(([key]) => !(key === 'trial' && job.labels.study))
  .sort(([a], [b]) => OF_TRIALS.has(a) - OF_TRIALS.has(b) || (a < b ? -1 : 1));

// Labels of the axes of a study, by which its cells differ.
export const axisLabels = (job) => Object.fromEntries(Object.entries(job.labels ?? {}).filter(([key]) => !OF_TRIALS.has(key)));

// `path=value` of an override, the path by its last word.
const change = (override) => override.replace(/^[^=]*\.(?=[^.=]*=)/, '');

export function jobTags(job) {
  const tags = [...(job.overrides ?? []).map((one) => h('span', { class: 'label', title: one }, change(one))),
    ...labels(job).map(([key, value]) => h('span', { class: 'label' }, `${key} ${value}`))];
  if (tags.length === 0) return null;
  const more = tags.slice(MOST);
  return h('span', { class: 'tags' }, tags.slice(0, MOST).map((tag) => [tag, ' ']), more.length > 0 && h('span', { class: 'label', title: more.map((tag) => tag.textContent).join(', ') }, `and ${more.length} more`));
}
