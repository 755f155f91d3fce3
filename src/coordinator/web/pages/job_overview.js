// What is known of a job at a glance.
import { h } from './dom.js';
import { jobAddress } from './address.js';
import { clock, duration, hasEnded, number, percent, plural, secondsOf, spent, whole } from './format.js';

const fact = (word, ...value) => value.flat().filter((v) => v !== '' && v !== null && v !== undefined && v !== false).length === 0 ? null
  : h('div', {}, h('dt', {}, word), h('dd', {}, value));

function resources(job) {
  const asked = job.resources ?? {};
  const processes = asked.processes ?? 1, threads = asked.threads_per_process ?? 1;
  return [`${plural(processes, 'process').replace('processs', 'processes')}`, threads > 1 ? ` × ${threads} cores` : '',
    asked.memory_mib_per_process ? `, ${whole(asked.memory_mib_per_process)} MiB each` : '',
    asked.priority ? `, priority ${asked.priority}` : '', asked.time_limit ? `, at most ${duration(secondsOf(asked.time_limit))}` : ''].join('');
}

function trouble(job) {
  if (job.state === 'QUEUED' || (job.state === 'STARTING' && job.pending?.message)) {
    const { position, message, latest_start: latest, blocking_jobs: before = [] } = job.pending ?? {};
    return h('div', { class: 'panel wait' }, h('h2', {}, job.state === 'QUEUED' ? `Waits${position ? `, place ${position}` : ''}` : 'Is being started'),
      h('p', {}, message ?? ''),
      before.length > 0 && h('p', {}, 'Before it: ', before.map((name, i) => [i ? ', ' : '', h('a', { href: `/${name}` }, name)])),
      latest && h('p', {}, `Starts by ${clock(latest)} at the latest.`));
  }
  if (job.state === 'RUNNING' && job.pending?.message)
    return h('div', { class: 'panel wait' }, h('h2', {}, 'May be in trouble'), h('p', {}, job.pending.message));
  const failure = job.failure;
  if (!failure?.message || job.state === 'SUCCEEDED') return null;
  return h('div', { class: 'panel bad' },
    h('h2', {}, job.state === 'FAILED' ? `Failed (${failure.class ?? ''})` : `Its last attempt failed (${failure.class ?? ''})`),
    h('p', {}, failure.message),
    h('p', { class: 'quiet' }, [failure.rank !== undefined ? `rank ${failure.rank}` : '', failure.host ? `host ${failure.host}` : '',
      failure.signal ? `signal ${failure.signal}` : '', failure.exit_code !== undefined ? `exit code ${failure.exit_code}` : '',
      failure.layer ? `layer ${failure.layer}` : '', failure.operation ? `waited for ${failure.operation}` : '',
      failure.ranks?.length ? `ranks ${failure.ranks.join(', ')} made no progress` : ''].filter(Boolean).join(' · ')),
    failure.excerpt && h('pre', { class: 'excerpt', tabindex: '0' }, failure.excerpt),
    job.state === 'RECOVERING' && job.retry_time && h('p', {}, `Tried again at ${clock(job.retry_time)}.`));
}

export function overview(job) {
  const progress = job.progress ?? {}, evaluation = job.evaluation ?? {};
  const rate = Number(progress.step) > 0 && Number(progress.total_steps) > 0 && job.state === 'RUNNING'
    ? duration((Number(progress.total_steps) - Number(progress.step)) * secondsOf(job.used_time) / Number(progress.step)) : '';
  const labels = Object.entries(job.labels ?? {});
  return [trouble(job), h('dl', { class: 'facts' },
    fact('Phase', hasEnded(job.state) ? '' : progress.phase ?? ''),
    fact('Epoch', progress.epoch ? number(progress.epoch, 4) : ''),
    fact('Time', Number.isFinite(spent(job)) ? duration(spent(job)) : '', rate ? h('span', { class: 'quiet' }, ` · about ${rate} left`) : ''),
    fact('Test accuracy', evaluation.accuracy !== undefined ? percent(evaluation.accuracy) : '',
      evaluation.best_accuracy !== undefined ? h('span', { class: 'quiet' }, ` · best ${percent(evaluation.best_accuracy)}`) : ''),
    fact('Checkpoint', progress.checkpoint_step !== undefined ? `step ${whole(progress.checkpoint_step)}` : '',
      progress.checkpoint_step !== undefined && h('span', { class: 'quiet' }, ' · ', h('a', { href: jobAddress(job.name, 'checkpoints') }, 'all'))),
    fact('Resources', resources(job)),
    fact('Attempt', job.attempt ? String(job.attempt) : '', job.retries ? h('span', { class: 'quiet' }, ` · ${job.retries} restarts`) : ''),
    fact('By', job.submitter, h('span', { class: 'quiet' }, ` · ${clock(job.create_time)}`)),
    fact('Started', job.start_time ? clock(job.start_time) : ''),
    fact('Ended', job.end_time ? clock(job.end_time) : ''),
    fact('Points lost', Number(progress.lost_points) ? whole(progress.lost_points) : ''),
    fact('May still hold', (job.possibly_held_hosts ?? []).join(', ')),
    fact('Output', job.output_folder ?? ''),
    labels.length > 0 && fact('Labels', labels.sort().map(([key, value]) => h('span', { class: 'label' }, `${key} ${value}`))))];
}
