// The checkpoints that lie in a job's output folder now, and the one that it goes on from.
import { h, fill, table, update } from './dom.js';
import { call } from './api.js';
import { bytes, clock, percent, plural, whole } from './format.js';

const REST = 1000;  // milliseconds between two looks

const figure = (content) => ({ class: 'figure', content });

function row(one, job) {
  const damaged = Boolean(one.damage);
  const notes = [damaged && h('span', { class: 'error' }, `Of no use: ${one.damage}`),
    one.resumes && job?.state !== 'SUCCEEDED' && h('span', { class: 'label' }, 'goes on from here'),
    one.until_next && h('span', { class: 'quiet' }, 'until the next is written')].filter(Boolean);
  return [whole(one.step), figure(damaged ? '' : whole(one.epoch)), figure(one.test_accuracy === undefined ? '' : percent(one.test_accuracy)),
    figure(bytes(one.size_bytes)), one.create_time ? clock(one.create_time) : '', figure(damaged ? '' : String(one.attempt ?? 0)),
    notes.map((note, i) => [i > 0 && ' ', note])];
}

export async function showCheckpoints(view, name, body, state) {
  const list = h('div', {}), folder = h('p', { class: 'foot quiet' });
  fill(body, list, folder);
  let seen = null, shown = null, asking = false;
  const draw = () => {
    const job = state.job, { checkpoints = [], left_out: others } = shown ?? {};
    fill(folder, job?.output_folder && checkpoints.length > 0 && ['In ', h('code', {}, `${job.output_folder}/checkpoints`)]);
    update(list, checkpoints.length === 0 ? h('p', { class: 'quiet' }, 'None in the output folder.')
      : table('Checkpoints', ['Step', figure('Epoch'), figure('Test accuracy'), figure('Size'), 'Written', figure('Attempt'), ''],
        checkpoints.map((one) => row(one, job)), { class: 'checkpoints' }),
      Number(others) > 0 && h('p', { class: 'quiet' }, `And ${plural(Number(others), 'other')} of lower steps.`));
  };
  // Anew when the job has written one, or has come to another state; not as often as a quick one writes.
  const versionOf = (job) => `${job.etag} ${job.progress?.checkpoint_step ?? ''}`;
  async function look() {
    if (asking || !state.job || seen === versionOf(state.job)) return;
    asking = true;
    seen = versionOf(state.job);
    try {
      shown = await call('JobService/ListCheckpoints', { parent: name }, { signal: view.signal });
      draw();
    } catch (error) {
      if (!view.signal.aborted) fill(list, h('p', { class: 'error' }, error.message));
    }
    setTimeout(() => { asking = false; if (!view.signal.aborted) look(); }, REST);
  }
  state.onChange(look);
  await look();
}
