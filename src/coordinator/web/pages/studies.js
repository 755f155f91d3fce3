// All studies, and how far they are.
import { h, fill, table, update } from './dom.js';
import { call } from './api.js';
import { clock, percent, shortName, whole } from './format.js';

const KINDS = { RUNNING: 'run', PAUSING: 'wait', PAUSED: 'wait', CANCELLING: 'wait', SUCCEEDED: 'good', FAILED: 'bad', CANCELLED: 'off' };
const word = (state) => (state ?? '').charAt(0) + (state ?? '').slice(1).toLowerCase();

export const studyBadge = (study) => h('span', { class: `badge ${KINDS[study.state] ?? 'off'}` }, word(study.state));
export function studyProgress(study) {
  const { known = 0, done = 0, running = 0, failed = 0, diverged = 0 } = study.progress ?? {};
  return h('span', { class: 'advance' }, h('progress', { max: String(Number(known) || 1), value: Number(done), 'aria-label': 'Trials' }),
    h('span', {}, `${whole(done)} / ${whole(known)}`, Number(running) ? `, ${whole(running)} running` : '',
      Number(failed) ? `, ${whole(failed)} failed` : '', Number(diverged) ? `, ${whole(diverged)} diverged` : ''));
}

export async function showStudies(view) {
  view.title('Studies');
  const body = h('div', {}), more = h('button', { type: 'button', hidden: true, onclick: () => load(true) }, 'More');
  let studies = [], next = '';
  fill(view.main, h('div', { class: 'head' }, h('h1', {}, 'Studies')), body, h('div', { class: 'foot' }, more));
  async function load(goOn) {
    const page = await call('StudyService/ListStudies', { page_size: 100, page_token: goOn ? next : '' }, { signal: view.signal });
    studies = goOn ? [...studies, ...(page.studies ?? [])] : page.studies ?? [];
    next = page.next_page_token ?? '';
    more.hidden = !next;
    update(body, studies.length === 0 ? h('p', { class: 'quiet' }, 'No study yet. ', h('code', {}, 'syncbn study submit FILE'), ' begins one.')
      : table('Studies', ['Study', 'State', 'Trials', { class: 'figure', content: 'Best accuracy' }, 'By', 'Created'], studies.map((study) => [
        h('a', { href: `/${study.name}` }, h('span', { class: 'quiet' }, `${shortName(study.name)} `), study.display_name || 'without a name'),
        studyBadge(study), studyProgress(study), { class: 'figure', content: study.progress?.best ? percent(study.progress.best.test_accuracy) : '' },
        study.submitter, clock(study.create_time)])));
  }
  await load(false);
  view.every(3000, () => { if (studies.length <= 100) load(false).catch(() => {}); });
}
