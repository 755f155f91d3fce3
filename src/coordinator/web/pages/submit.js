// A new job: its run file, checked by the coordinator before anything is queued.
import { h, fill } from './dom.js';
import { call, change } from './api.js';
import { current, go } from './address.js';

const EXAMPLE = `name: shapes-demo
seed: 1
data: {dataset: shapes}
model:
  layers:
    - conv: {out: 16, kernel: 3, padding: 1}
    - norm
    - relu
    - global_average_pool
    - linear: 10
cluster: {replicas: 2, batch_per_replica: 32}
train: {epochs: 5, learning_rate: {base: 0.1}}
`;

const lines = (text) => text.split('\n').map((line) => line.trim()).filter(Boolean);

export async function showSubmit(view) {
  view.title('New job');
  const from = current().query.get('from');
  const file = h('textarea', { id: 'file', rows: '20', spellcheck: 'false', autocomplete: 'off', value: EXAMPLE, required: true });
  const number = (id, value, most) => h('input', { id, type: 'number', min: id === 'priority' ? '-1000' : '1', max: most, value, required: true });
  const processes = number('processes', '1', '65536'), threads = number('threads', '1', '1024'), priority = number('priority', '0', '1000');
  const overrides = h('textarea', { id: 'overrides', rows: '2', spellcheck: 'false', placeholder: 'train.epochs=3' });
  const labels = h('input', { id: 'labels', spellcheck: 'false', placeholder: 'team=vision, purpose=sweep' });
  const faults = h('div', { class: 'faults', role: 'alert' });
  const job = () => ({
    run_file: file.value, run_file_name: 'run.yaml', overrides: lines(overrides.value),
    labels: Object.fromEntries(labels.value.split(',').map((pair) => pair.trim()).filter(Boolean).map((pair) => pair.split('=').map((part) => part.trim()))),
    resources: { processes: Number(processes.value), threads_per_process: Number(threads.value), priority: Number(priority.value) },
  });

  async function send(onlyCheck) {
    fill(faults);
    try {
      const answer = onlyCheck ? await call('JobService/CreateJob', { job: job(), validate_only: true }, { signal: view.signal })
        : await change('JobService/CreateJob', { job: job() });
      if (!onlyCheck) go(`/${answer.name}`);
      else fill(faults, h('p', { class: 'good' }, 'Nothing is wrong with it.'));
    } catch (error) {
      if (view.signal.aborted) return;
      fill(faults, error.errors.length > 0 ? error.errors.map((fault) => h('pre', {}, fault.text || fault.message)) : h('p', {}, error.message));
    }
  }

  const field = (input, word) => h('div', { class: 'field' }, h('label', { for: input.id }, word), input);
  fill(view.main, h('div', { class: 'head' }, h('h1', {}, 'New job')),
    h('form', { class: 'submit', onsubmit: (event) => { event.preventDefault(); send(false); } }, field(file, 'Run file'),
      h('div', { class: 'fields' }, field(processes, 'Processes'), field(threads, 'Cores of each'), field(priority, 'Priority')),
      field(overrides, 'Overrides, one a line'), field(labels, 'Labels'), faults,
      h('div', { class: 'actions' }, h('button', { type: 'button', onclick: () => send(true) }, 'Check'), h('button', { type: 'submit', class: 'primary' }, 'Submit'))));
  if (from) {
    const known = await call('JobService/GetJob', { name: `jobs/${from}` }, { signal: view.signal });
    file.value = known.run_file ?? '';
    overrides.value = (known.overrides ?? []).join('\n');
    processes.value = known.resources?.processes ?? 1;
    threads.value = known.resources?.threads_per_process ?? 1;
  }
}
