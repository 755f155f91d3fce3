// The run file: in effect, with the origin of every value, and as its user wrote it.
import { h, fill } from './dom.js';
import { current, note } from './address.js';

// "key: value   # origin", as the effective run file has it.
export function parseLine(line) {
  const [, setting, origin] = /^(.*?)(?:\s{2,}#\s(.*))?$/.exec(line) ?? [null, line, ''];
  return { setting, origin: origin ?? '' };
}

function kindOf(origin) {
  if (origin === 'default') return 'default';
  return origin.startsWith('--set') ? 'set' : 'own';
}

export async function showRunFile(view, name, body, state, first) {
  const job = await first;
  const rows = (job.effective_run_file ?? '').replace(/\n$/, '').split('\n').map(parseLine);
  const onlyOwn = h('input', { type: 'checkbox', checked: current().query.get('defaults') === 'no',
    onchange: () => { note({ defaults: onlyOwn.checked ? 'no' : '' }); draw(); } });
  const effective = h('div', { class: 'scroll', tabindex: '0' });
  function draw() {
    const shown = rows.filter(({ origin }) => !(onlyOwn.checked && kindOf(origin) === 'default'));
    fill(effective, h('table', { class: 'run-file' }, h('caption', { class: 'unseen' }, 'Run file in effect'),
      h('tbody', {}, shown.map(({ setting, origin }) => h('tr', { class: origin ? kindOf(origin) : null },
        h('td', {}, h('code', {}, setting)), h('td', { class: 'origin' }, origin))))));
  }
  draw();
  const overrides = job.overrides ?? [];
  fill(body, h('div', { class: 'bar' }, h('h2', {}, 'In effect'), h('label', { class: 'check' }, onlyOwn, 'Without defaults'),
    h('button', { type: 'button', class: 'small', onclick: (event) => { navigator.clipboard?.writeText(job.run_file ?? ''); event.target.textContent = 'Copied'; } }, 'Copy the file')),
    effective, overrides.length > 0 && [h('h2', {}, 'Overrides'), h('ul', {}, overrides.map((one) => h('li', {}, h('code', {}, one))))],
    h('details', {}, h('summary', {}, `As it was submitted${job.run_file_name ? ` (${job.run_file_name})` : ''}`), h('pre', { class: 'file', tabindex: '0' }, job.run_file ?? '')));
}
