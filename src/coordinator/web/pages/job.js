// One job: how it is, what may be done with it, and below that one of its sides: curves, log, run file,
// checkpoints, history.
import { h, fill, update } from './dom.js';
import { call } from './api.js';
import { jobAddress } from './address.js';
import { follow } from './live.js';
import { shortName } from './format.js';
import { badge, progressBar } from './jobs.js';
import { overview } from './job_overview.js';
import { actions } from './job_actions.js';
import { showCurves } from './job_curves.js';

const TABS = [['curves', 'Curves'], ['log', 'Log'], ['run-file', 'Run file'], ['checkpoints', 'Checkpoints'], ['history', 'History']];

const SIDES = {
  curves: async () => showCurves,
  log: async () => (await import('./job_log.js')).showLog,
  'run-file': async () => (await import('./job_run_file.js')).showRunFile,
  checkpoints: async () => (await import('./job_checkpoints.js')).showCheckpoints,
  history: async () => (await import('./job_history.js')).showHistory,
};

export async function showJob(view, name, tab) {
  const side = SIDES[tab] ?? SIDES.curves;
  view.title(shortName(name));
  const head = h('div', { class: 'head' }), facts = h('div', {}), body = h('section', { class: 'side', id: 'side', 'aria-label': tab });
  const nav = h('nav', { class: 'tabs', 'aria-label': 'Sides of the job' }, TABS.map(([id, word]) =>
    h('a', { href: jobAddress(name, id === 'curves' ? '' : id), 'aria-current': id === tab ? 'page' : null }, word)));
  const listeners = new Set();
  const state = { job: null, onChange: (listener) => { listeners.add(listener); view.onEnd(() => listeners.delete(listener)); } };

  function draw(job) {
    // A list of changes has less of a job than the job itself.
    state.job = { ...state.job, ...job };
    for (const field of ['pending', 'failure', 'liveness', 'retry_time', 'end_time', 'possibly_held_hosts']) {
      if (!(field in job)) delete state.job[field];
    }
    const now = state.job;
    view.title(`${shortName(name)} ${now.display_name ?? ''}`);
    update(head, h('h1', {}, h('span', { class: 'quiet' }, `${shortName(name)} `), now.display_name || 'without a name', ' ', badge(now)),
      progressBar(now), actions(view, now, (changed) => draw(changed)));
    update(facts, overview(now));
    for (const listener of listeners) listener(now);
  }

  const first = call('JobService/GetJob', { name }, { signal: view.signal });
  const show = await side();
  const shown = show(view, name, body, state, first);
  // Of a job that is not there both fail.
  shown.catch(() => {});
  fill(view.main, head, facts, nav, body);
  draw(await first);
  // Whoever may do something is known a moment later.
  view.known.then(() => draw(state.job), () => {});
  let cursor = '';
  const end = follow({ job: {
    method: 'JobService/WatchJobs', request: () => ({ job: name, cursor }),
    message: (message) => {
      cursor = message.cursor || cursor;
      const job = message.change?.job ?? message.snapshot;
      if (job) draw(job);
      if (message.deleted) fill(view.main, h('div', { class: 'panel' }, h('h1', {}, 'This job was deleted')));
    },
    end: () => { cursor = ''; },
  } });
  view.onEnd(end);
  await shown;
}
