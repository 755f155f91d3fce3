// The report of a study: made by the coordinator of the results so far, and shown in a frame that can reach
// nothing of this page (coordinator/web/report_shelf.h).
import { h, fill } from './dom.js';
import { call } from './api.js';

const SELDOM = 10_000;  // between two that follow each other while a study goes on
const LOW = 160, HIGH = 40_000;  // pixels

const ask = (name, signal) => call('report', { name }, { signal });

// Keeps one of its files: under an address that is asked for now, as it lasts a minute.
function download(name, file, words) {
  const button = h('button', { type: 'button', class: 'small', title: `Save ${words}`, onclick: async () => {
    try {
      location.assign((await ask(name))[file]);
      button.textContent = words;
    } catch (error) { button.textContent = error.message; }
  } }, words);
  return button;
}

export const reportTools = (name, alone) => h('span', { class: 'actions' },
  alone ? h('a', { class: 'button small', href: `/${name}` }, 'All of the study') : h('a', { class: 'button small', href: `/${name}/report` }, 'Open alone'),
  download(name, 'markdown', 'report.md'), download(name, 'trials', 'trials.csv'), download(name, 'timings', 'timings.csv'));

// The frame, and what is told of every state of the study.
export function reportFrame(view, name, alone) {
  const notice = h('p', { class: 'quiet', role: 'status' }, 'The report is being made\u2026');
  const place = h('div', { class: alone ? 'report alone' : 'report' }, notice);
  let shown = null, next = null, made = '', asked = -Infinity, asking = false, wanted = null, timer = 0;

  // Of ours alone, and a number.
  const hear = (event) => {
    const frame = [shown, next].find((one) => one && event.source === one.contentWindow);
    const height = Number(event.data?.height);
    if (frame && Number.isFinite(height)) frame.setAttribute('height', String(Math.min(HIGH, Math.max(LOW, Math.ceil(height) + 2))));
  };
  window.addEventListener('message', hear);
  view.onEnd(() => { window.removeEventListener('message', hear); clearTimeout(timer); });

  async function load(version) {
    asking = true;
    asked = performance.now();
    try {
      const answer = await ask(name, view.signal);
      next?.remove();
      next = h('iframe', { title: 'Report', sandbox: 'allow-scripts', src: answer.page, height: String(LOW), class: 'coming' });
      // What is there stays until the new one can be seen.
      next.addEventListener('load', (event) => {
        if (event.target !== next) return;
        if (shown) next.setAttribute('height', shown.getAttribute('height'));
        shown?.remove();
        notice.remove();
        next.classList.remove('coming');
        [shown, next] = [next, null];
      });
      place.append(next);
      made = answer.newer ? '' : version;
    } catch (error) {
      if (view.signal.aborted) return;
      if (!shown) fill(notice, error.reason === 'RATE_LIMITED' ? 'Other reports are being made; this one follows.' : `There is no report: ${error.message}`);
    } finally { asking = false; }
  }

  function look() {
    clearTimeout(timer);
    if (asking || wanted === made) return;
    // Nothing is taken from under somebody's pointer.
    const wait = shown?.matches(':hover') ? 1000 : asked + SELDOM - performance.now();
    if (wait <= 0) load(wanted); else timer = setTimeout(look, wait);
  }

  return { place, changed: (study) => {
    const { done = 0, known = 0, failed = 0 } = study.progress ?? {};
    wanted = [done, known, failed].join(' ');
    look();
  } };
}

// The report alone, under an address of its own.
export async function showReport(view, name) {
  const head = h('div', { class: 'head' }), report = reportFrame(view, name, true);
  fill(view.main, head, report.place);
  async function load() {
    const study = await call('StudyService/GetStudy', { name, basic: true }, { signal: view.signal });
    view.title(`Report of ${study.display_name || name}`);
    fill(head, h('h1', {}, 'Report of ', study.display_name || name), reportTools(name, true));
    report.changed(study);
  }
  await load();
  view.every(3000, () => load().catch(() => {}));
}
