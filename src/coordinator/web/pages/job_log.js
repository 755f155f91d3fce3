// What the processes of an attempt print, as it comes: of all ranks or of one.
import { h, fill } from './dom.js';
import { call, decodeBytes } from './api.js';
import { note, current } from './address.js';
import { follow } from './live.js';
import { plural } from './format.js';

const TAIL = 64 * 1024, MOST_LINES = 5000;
// Colours and the like, which are for terminals.
const TERMINAL = /\u001b\[[0-9;?]*[A-Za-z]/g;

export async function showLog(view, name, body, state, first) {
  const query = current().query;
  const job = await first;
  const attempts = job.attempt ?? 0, processes = job.resources?.processes ?? 1;
  if (!attempts) {
    fill(body, h('p', { class: 'quiet' }, 'Nothing was printed: the job has not been started yet.'));
    state.onChange((now) => { if (now.attempt && !view.signal.aborted && !body.querySelector('pre')) showLog(view, name, body, state, Promise.resolve(now)); });
    return;
  }
  const option = (value, word, chosen) => h('option', { value, selected: String(value) === String(chosen) }, word);
  const attempt = h('select', { 'aria-label': 'Attempt', onchange: begin }, Array.from({ length: attempts }, (_, i) =>
    option(attempts - i, `attempt ${attempts - i}`, query.get('attempt') ?? attempts)));
  const kind = h('select', { 'aria-label': 'Log', onchange: begin }, option('output', 'output', query.get('log')), option('supervisor', 'supervisor', query.get('log')));
  const rank = h('select', { 'aria-label': 'Rank', onchange: begin }, option('', 'all ranks', query.get('rank')),
    Array.from({ length: processes }, (_, i) => option(i, `rank ${i}`, query.get('rank'))));
  const stay = h('input', { type: 'checkbox', checked: true });
  const earlier = h('button', { type: 'button', class: 'small', hidden: true, onclick: readEarlier }, 'Earlier lines');
  const status = h('span', { class: 'quiet', role: 'status' });
  const text = h('pre', { class: 'log', tabindex: '0', 'aria-label': 'Log' });
  let endFollow = () => {}, began = 0, next = 0, rest = '', run = 0;
  fill(body, h('div', { class: 'bar' }, attempt, kind, rank, h('label', { class: 'check' }, stay, 'Follow the end'), earlier, status), text);
  view.onEnd(() => endFollow());

  const log = () => `${name}/attempts/${attempt.value}/logs/${kind.value}`;
  const asked = () => (rank.value === '' || kind.value !== 'output' ? {} : { rank: Number(rank.value) });

  function line(words) {
    const [, who, tail] = kind.value === 'output' ? /^(\d+|-)([:+] )/.exec(words) ?? [] : [];
    const shown = words.slice(who ? who.length + tail.length : 0).replace(TERMINAL, '');
    return h('span', { class: 'line' }, who && h('span', { class: `rank c${who === '-' ? 5 : who % 6}` }, who === '-' ? 'mpirun' : who), shown, '\n');
  }
  const lines = (words) => words.split('\n').map(line);

  // New lines at the end; what is cut inside a character waits for its rest.
  function add(bytes, decoder) {
    const words = rest + decoder.decode(bytes, { stream: true });
    const end = words.lastIndexOf('\n');
    rest = words.slice(end + 1);
    if (end < 0) return;
    text.append(...lines(words.slice(0, end)));
    while (text.childElementCount > MOST_LINES) text.firstElementChild.remove();
    if (stay.checked) text.scrollTop = text.scrollHeight;
  }

  async function readEarlier() {
    const offset = Math.max(0, began - TAIL);
    const chunk = await call('LogService/ReadLog', { name: log(), offset, max_bytes: began - offset || 1, ...asked() }, { signal: view.signal });
    const words = new TextDecoder().decode(decodeBytes(chunk.data)).replace(/\n$/, '');
    stay.checked = false;
    const height = text.scrollHeight;
    if (words) text.prepend(...lines(words));
    text.scrollTop += text.scrollHeight - height;
    began = Number(chunk.offset ?? 0) < began ? Number(chunk.offset ?? 0) : 0;
    earlier.hidden = began === 0;
  }

  async function begin() {
    endFollow();
    const mine = ++run;
    note({ attempt: Number(attempt.value) === attempts ? '' : attempt.value, log: kind.value === 'output' ? '' : kind.value, rank: rank.value });
    rank.disabled = kind.value !== 'output';
    text.replaceChildren();
    rest = '';
    status.textContent = '';
    const decoder = new TextDecoder();
    let size = 0;
    try {
      const { logs = [] } = await call('LogService/ListLogs', { parent: `${name}/attempts/${attempt.value}` }, { signal: view.signal });
      const found = logs.find((one) => one.name === log());
      size = Number(found?.size_bytes ?? 0);
      if (found?.dropped_lines) status.textContent = `${plural(Number(found.dropped_lines), 'line')} left out: the log had reached its limit`;
    } catch (error) {
      if (view.signal.aborted || mine !== run) return;
      status.textContent = error.message;
      return;
    }
    if (mine !== run) return;
    next = Math.max(0, size - TAIL);
    began = next;
    earlier.hidden = began === 0;
    endFollow = follow({ log: {
      method: 'LogService/FollowLog', request: () => ({ name: log(), offset: next, ...asked() }),
      message: ({ chunk }) => {
        if (!chunk || mine !== run) return;
        add(decodeBytes(chunk.data), decoder);
        next = Number(chunk.next_offset ?? next);
        if (chunk.end) {
          if (rest) text.append(line(rest));
          status.textContent = status.textContent || 'The log is complete.';
        }
      },
      end: (ended) => { if (ended.message && mine === run) status.textContent = ended.message; },
    } });
  }
  await begin();
}
