// A new job: its run file, checked by the coordinator before anything is queued. Nothing that was typed is left out
// silently: what cannot be sent is said beside its field, and then nothing is.
import { h, fill } from './dom.js';
import { call, change } from './api.js';
import { current, go } from './address.js';
import { shortName } from './format.js';

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

// "team=vision, purpose=sweep". Throws what is wrong, in the words of the command line.
export function labelsOf(text) {
  const labels = new Map();
  for (const pair of text.split(',').map((one) => one.trim()).filter(Boolean)) {
    const at = pair.indexOf('=');
    const [key, value] = [pair.slice(0, Math.max(at, 0)).trim(), pair.slice(at + 1).trim()];
    if (!key) throw new Error(`expected KEY=VALUE, found "${pair}"`);
    if (labels.has(key)) throw new Error(`"${key}" is given twice`);
    labels.set(key, value);
  }
  return Object.fromEntries(labels);
}

// What a job has beside what the fields say, for one that is made from it.
const RESOURCES = ['memory_mib_per_process', 'time_limit', 'max_retries', 'host_tags', 'hosts', 'excluded_hosts', 'max_processes_per_host'];
function moreOf(known) {
  const resources = Object.fromEntries(RESOURCES.filter((key) => known.resources?.[key] !== undefined).map((key) => [key, known.resources[key]]));
  const environment = known.environment ?? {};
  return { resources, environment, words: [...Object.entries(resources).map(([key, value]) => `${key} ${[value].flat().join(' ')}`),
    ...Object.keys(environment)] };
}

export async function showSubmit(view) {
  view.title('New job');
  const from = current().query.get('from');
  const file = h('textarea', { id: 'file', rows: '20', spellcheck: 'false', autocomplete: 'off', value: EXAMPLE, required: true });
  const number = (id, value, most) => h('input', { id, type: 'number', min: id === 'priority' ? '-1000' : '1', max: most, value, required: true });
  const processes = number('processes', '1', '65536'), threads = number('threads', '1', '1024'), priority = number('priority', '0', '1000');
  const overrides = h('textarea', { id: 'overrides', rows: '2', spellcheck: 'false', placeholder: 'train.epochs=3' });
  const labels = h('input', { id: 'labels', spellcheck: 'false', placeholder: 'team=vision, purpose=sweep' });
  const faults = h('div', { class: 'faults', role: 'alert' }), also = h('p', { class: 'quiet', hidden: true });
  let name = 'run.yaml', more = { resources: {}, environment: {} };
  const job = () => ({
    run_file: file.value, run_file_name: name, overrides: lines(overrides.value), labels: labelsOf(labels.value), environment: more.environment,
    resources: { ...more.resources, processes: Number(processes.value), threads_per_process: Number(threads.value), priority: Number(priority.value) },
  });

  // What is wrong with a field stands beside it.
  function blame(input, message) {
    input.setAttribute('aria-invalid', String(message !== ''));
    fill(document.getElementById(`${input.id}-fault`), message);
    if (message !== '') input.focus();
  }

  async function send(onlyCheck) {
    fill(faults);
    for (const input of [overrides, labels]) blame(input, '');
    // Also a number that is none, which would be sent as 0.
    if (!form.reportValidity()) return;
    let made;
    try { made = job(); } catch (fault) { blame(labels, fault.message); return; }
    try {
      const answer = onlyCheck ? await call('JobService/CreateJob', { job: made, validate_only: true }, { signal: view.signal })
        : await change('JobService/CreateJob', { job: made });
      if (!onlyCheck) go(`/${answer.name}`);
      else fill(faults, h('p', { class: 'good' }, 'Nothing is wrong with it.'));
    } catch (error) {
      if (view.signal.aborted) return;
      const wrong = { labels, overrides }[error.field];
      if (wrong) blame(wrong, error.message);
      else fill(faults, error.errors.length > 0 ? error.errors.map((fault) => h('pre', {}, fault.text || fault.message)) : h('p', {}, error.message));
    }
  }

  const field = (input, word) => {
    const fault = `${input.id}-fault`;
    input.setAttribute('aria-describedby', fault);
    return h('div', { class: 'field' }, h('label', { for: input.id }, word), input, h('p', { class: 'error', id: fault, role: 'alert' }));
  };
  const form = h('form', { class: 'submit', onsubmit: (event) => { event.preventDefault(); send(false); } }, field(file, 'Run file'),
    h('div', { class: 'fields' }, field(processes, 'Processes'), field(threads, 'Cores of each'), field(priority, 'Priority')),
    field(overrides, 'Overrides, one a line'), field(labels, 'Labels'), also, faults,
    h('div', { class: 'actions' }, h('button', { type: 'button', onclick: () => send(true) }, 'Check'), h('button', { type: 'submit', class: 'primary' }, 'Submit')));
  fill(view.main, h('div', { class: 'head' }, h('h1', {}, 'New job')), form);
  if (from) {
    const known = await call('JobService/GetJob', { name: `jobs/${from}` }, { signal: view.signal });
    file.value = known.run_file ?? '';
    overrides.value = (known.overrides ?? []).join('\n');
    processes.value = known.resources?.processes ?? 1;
    threads.value = known.resources?.threads_per_process ?? 1;
    priority.value = known.resources?.priority ?? 0;
    labels.value = Object.entries(known.labels ?? {}).map(([key, value]) => `${key}=${value}`).join(', ');
    name = known.run_file_name || name;
    more = moreOf(known);
    also.hidden = more.words.length === 0;
    fill(also, `As of ${shortName(known.name)}, also: ${more.words.join(', ')}.`);
  }
}
