// Streams that go on: after a cut connection from where they were, and not while nobody looks. All of a
// page go through one connection: browsers have six to a host, for all pages together.
import { stream } from './api.js';

const FIRST_WAIT = 500, LONGEST_WAIT = 10_000, UNSEEN_FOR = 5_000, GATHER = 20;
// What the coordinator cannot do now it may do in a moment; the rest it will never do.
const PASSING = new Set(['UNAVAILABLE', 'RESOURCE_EXHAUSTED', 'CANCELLED']);

const open = new Map();  // parts by id
let last = 0, running = false, connection = null, unseen = 0;

export function say(text) {
  const notice = document.getElementById('notice');
  if (notice.textContent !== text) notice.textContent = text;
  notice.classList.toggle('on', text !== '');
}

// `parts` by name: { method, request() -> what to ask for now, message(m), end?(status) }. Returns what
// ends them.
export function follow(parts) {
  const mine = Object.entries(parts).map(([name, part]) => {
    const id = `${name}-${++last}`;
    open.set(id, part);
    return id;
  });
  begin();
  return () => {
    const gone = mine.filter((id) => open.delete(id));
    if (gone.length > 0) begin();
  };
}

function begin() {
  connection?.abort();
  if (!running) run();
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const seen = () => new Promise((resolve) => {
  if (!document.hidden) { resolve(); return; }
  document.addEventListener('visibilitychange', () => resolve(), { once: true });
});

document.addEventListener('visibilitychange', () => {
  clearTimeout(unseen);
  if (document.hidden) unseen = setTimeout(() => connection?.abort(), UNSEEN_FOR);
});

async function run() {
  running = true;
  let wait = FIRST_WAIT;
  for (;;) {
    // What a view begins with is asked for at once.
    await pause(GATHER);
    await seen();
    if (open.size === 0) break;
    const mine = connection = new AbortController();
    try {
      const wanted = [...open].map(([id, part]) => ({ id, method: part.method, request: part.request() }));
      await stream(wanted, (id, event) => {
        const part = open.get(id);
        if (!part || mine.signal.aborted) return;
        wait = FIRST_WAIT;
        say('');
        if (event.message) {
          part.message(event.message);
        } else if (!PASSING.has(event.end?.code)) {
          open.delete(id);
          part.end?.(event.end ?? {});
        }
      }, mine.signal);
    } catch (error) {
      if (error.status === 401) open.clear();
    }
    if (mine.signal.aborted || document.hidden) continue;
    if (open.size === 0) break;
    if (wait > FIRST_WAIT) say('The coordinator does not answer; this page goes on as soon as it does.');
    await pause(wait);
    wait = Math.min(2 * wait, LONGEST_WAIT);
  }
  running = false;
  // Something may have come in the meantime.
  if (open.size > 0) run();
}
