// Everything that happened to a job, and its attempts with their ranks.
import { h, fill, table, update } from './dom.js';
import { all } from './api.js';
import { STATES, clock, duration, timeOf } from './format.js';

const word = (state) => STATES[state]?.[0] ?? state ?? '';
const OUTCOMES = { ATTEMPT_OUTCOME_COMPLETED: 'completed', ATTEMPT_OUTCOME_STOPPED: 'stopped', ATTEMPT_OUTCOME_FAILED: 'failed' };

function attemptPanel(attempt) {
  const number = attempt.name.split('/').pop();
  const took = duration((timeOf(attempt.end_time) - timeOf(attempt.start_time)) / 1000);
  return h('details', { open: true }, h('summary', {}, `Attempt ${number}: ${OUTCOMES[attempt.outcome] ?? 'under way'}`,
    h('span', { class: 'quiet' }, ` · ${clock(attempt.start_time)}${attempt.end_time ? ` · ${took}` : ''} · ${(attempt.hosts ?? []).map((share) => `${share.host} × ${share.processes ?? 0}`).join(', ')}`)),
    attempt.failure?.message && h('p', { class: 'error' }, attempt.failure.message),
    table(`Ranks of attempt ${number}`, ['Rank', 'Host', 'PID', 'End', ''], (attempt.ranks ?? []).map((rank) =>
      [String(rank.rank ?? 0), rank.host, rank.pid, OUTCOMES[rank.outcome] ?? '', rank.message ?? ''])));
}

export async function showHistory(view, name, body, state) {
  const events = h('div', {}), attempts = h('div', {});
  fill(body, h('h2', {}, 'States'), events, h('h2', {}, 'Attempts'), attempts);
  async function load() {
    const [transitions, tries] = await Promise.all([all('JobService/ListTransitions', { parent: name }, 'transitions', { signal: view.signal }),
      all('JobService/ListAttempts', { parent: name }, 'attempts', { signal: view.signal })]);
    update(events, table('History', ['Time', 'Who', 'What', 'State', 'Why'], transitions.reverse().map((one) =>
      [clock(one.time), one.actor, one.event, one.from_state === one.to_state ? word(one.to_state) : `${word(one.from_state)} → ${word(one.to_state)}`, one.reason ?? ''])));
    update(attempts, tries.length ? tries.reverse().map(attemptPanel) : h('p', { class: 'quiet' }, 'None yet.'));
  }
  let last = '';
  state.onChange((job) => {
    if (job.etag === last) return;
    last = job.etag;
    load().catch(() => {});
  });
  await load();
}
