// One study: how far it is, and what its trials came to, over their seeds.
import { h, fill, table, update } from './dom.js';
import { all, call, change } from './api.js';
import { clock, percent, shortName, statistics } from './format.js';
import { axisLabels } from './job_tags.js';
import { answers, ask } from './job_actions.js';
import { badge, progressBar } from './jobs.js';
import { cellsOf, studyCurves } from './study_curves.js';
import { reportFrame, reportTools } from './study_report.js';
import { studyBadge, studyProgress } from './studies.js';

const ENDED = new Set(['SUCCEEDED', 'FAILED', 'CANCELLED']);
const VERBS = [['Pause', 'PauseStudy', ['RUNNING']], ['Resume', 'ResumeStudy', ['PAUSING', 'PAUSED']], ['Retry', 'RetryStudy', ['SUCCEEDED', 'FAILED', 'RUNNING', 'PAUSED']],
  ['Cancel', 'CancelStudy', ['RUNNING', 'PAUSING', 'PAUSED'], 'ends for good; the results so far stay.']];
const compareTrials = (study, labels = {}) => `/compare?${new URLSearchParams({ filter: [`labels.study = ${study.name.slice(8)}`,
  ...Object.entries(labels).map(([key, value]) => `labels.${key} = "${value}"`)].join(' AND ') })}`;

function actions(view, study, changed) {
  const error = h('span', { class: 'error', role: 'alert' });
  const failed = Number(study.progress?.failed ?? 0) > 0;
  const open = !view.server || !view.may(study.submitter) ? [] : VERBS.filter(([word, , states]) => states.includes(study.state) && (word !== 'Retry' || failed || study.state === 'FAILED'));
  return h('span', { class: 'actions', 'data-state': study.state }, error, h('a', { class: 'button', href: compareTrials(study) }, 'Compare trials'), open.map(([word, method, , question]) =>
    h('button', { type: 'button', class: question ? 'danger' : null, 'data-key': word, onclick: async () => {
      if (question && !await ask(`${word} ${study.display_name}?`, `The study ${question}`, answers(word, 'study', study.state))) return;
      try {
        await change(`StudyService/${method}`, { name: study.name });
        changed();
      } catch (failure) { error.textContent = failure.message; }
    } }, word)));
}

const axesOf = (jobs) => [...new Set(jobs.flatMap((job) => Object.keys(axisLabels(job))))].sort();
const figure = (content) => ({ class: 'figure', content });

function cells(study, jobs) {
  const axes = axesOf(jobs);
  const rows = cellsOf(jobs).map((cell) => {
    const values = cell.jobs.map((job) => Number(job.evaluation?.accuracy ?? NaN)).filter(Number.isFinite);
    const { mean, spread, least, greatest } = statistics(values);
    const best = Math.max(...cell.jobs.map((job) => Number(job.evaluation?.best_accuracy ?? NaN)).filter(Number.isFinite));
    return { mean: values.length > 0 ? mean : -Infinity, row: [...axes.map((axis) => cell.labels[axis] ?? '–'), ...(axes.length === 0 ? ['all'] : []),
      figure(`${values.length} / ${cell.jobs.length}`),
      { class: 'figure', content: values.length === 0 ? '–' : [percent(mean), values.length > 1 ? h('span', { class: 'quiet' }, ` ± ${percent(spread)}`) : ''] },
      { class: 'figure', content: values.length === 0 ? '–' : `${percent(least)} – ${percent(greatest)}` },
      { class: 'figure', content: Number.isFinite(best) ? percent(best) : '–' },
      h('a', { href: compareTrials(study, cell.labels) }, 'curves')] };
  });
  rows.sort((a, b) => b.mean - a.mean);
  return table('Results', [...(axes.length > 0 ? axes : ['Trials']), figure('Seeds'), figure('Test accuracy'), figure('Range'), figure('Best'), ''], rows.map(({ row }) => row));
}

// Every trial, by what it differs in from the others.
function trialsTable(jobs) {
  const axes = axesOf(jobs);
  if (jobs.some((job) => job.labels?.tuned)) axes.push('tuned');
  return table('Trials', ['Job', ...axes, figure('Seed'), 'State', 'Progress', figure('Accuracy')], jobs.map((job) => [
    h('a', { href: `/${job.name}` }, shortName(job.name)), ...axes.map((axis) => job.labels?.[axis] ?? '–'), figure(job.labels?.seed ?? ''),
    badge(job), progressBar(job) ?? (job.pending?.message ?? ''), figure(job.evaluation?.accuracy === undefined ? '' : percent(job.evaluation.accuracy))]));
}

export async function showStudy(view, name) {
  const head = h('div', { class: 'head' }), facts = h('div', {}), results = h('div', {}), trials = h('div', {}), file = h('div', {});
  const report = reportFrame(view, name), curves = studyCurves(view);
  fill(view.main, head, facts, h('h2', {}, 'Results'), results, h('h2', {}, 'Curves'), curves.place,
    h('div', { class: 'head part' }, h('h2', {}, 'Report'), reportTools(name)), report.place, h('h2', {}, 'Trials'), trials, file);
  async function load() {
    const [study, jobs] = await Promise.all([call('StudyService/GetStudy', { name }, { signal: view.signal }),
      all('JobService/ListJobs', { filter: `labels.study = ${name.slice(8)}`, page_size: 500 }, 'jobs', { signal: view.signal })]);
    view.title(`${shortName(name)} ${study.display_name}`);
    update(head, h('h1', {}, h('span', { class: 'quiet' }, `${shortName(name)} `), study.display_name || 'without a name', ' ', studyBadge(study)), studyProgress(study), actions(view, study, load));
    const best = study.progress?.best;
    update(facts, study.reason && h('div', { class: `panel ${study.state === 'FAILED' ? 'bad' : 'wait'}` }, h('p', {}, study.reason)),
      best && h('p', {}, ENDED.has(study.state) ? 'Best: ' : 'Best so far: ', h('b', {}, percent(best.test_accuracy)), ` with ${best.description}.`),
      (study.notes ?? []).map((one) => h('p', { class: 'quiet' }, one)),
      h('p', { class: 'quiet' }, `By ${study.submitter}, ${clock(study.create_time)}. With figures, and to go on elsewhere: `, h('code', {}, `syncbn study fetch ${name.slice(8)} FOLDER`)));
    report.changed(study);
    curves.changed(jobs);
    update(results, jobs.length > 0 ? cells(study, jobs) : h('p', { class: 'quiet' }, 'None yet.'));
    update(trials, jobs.length > 0 && trialsTable(jobs));
    update(file, h('details', {}, h('summary', {}, `Study file${study.study_file_name ? ` (${study.study_file_name})` : ''}`), h('pre', { class: 'file', tabindex: '0' }, study.study_file ?? '')),
      study.run_file && h('details', {}, h('summary', {}, `Run file${study.run_file_name ? ` (${study.run_file_name})` : ''}`), h('pre', { class: 'file', tabindex: '0' }, study.run_file)));
  }
  await load();
  view.known.then(load, () => {});
  view.every(3000, () => load().catch(() => {}));
}
