// Begins: which view an address shows, the bar at the top, and who looks.
import { h, fill } from './dom.js';
import { call, forgetToken, hasToken } from './api.js';
import * as address from './address.js';
import { say } from './live.js';

// Loaded when they are first shown, but those that most people see first.
import { showJobs } from './jobs.js';
import { showJob } from './job.js';

const VIEWS = [
  [/^\/(jobs)?$/, 'Jobs', (view) => showJobs(view)],
  [/^\/jobs\/new$/, 'Jobs', async (view) => (await import('./submit.js')).showSubmit(view)],
  [/^\/jobs\/(\d+)(?:\/([a-z-]+))?$/, 'Jobs', (view, [, job, tab]) => showJob(view, `jobs/${job}`, tab ?? 'curves')],
  [/^\/compare$/, 'Compare', async (view) => (await import('./compare.js')).showCompare(view)],
  [/^\/studies$/, 'Studies', async (view) => (await import('./studies.js')).showStudies(view)],
  [/^\/studies\/(\d+)$/, 'Studies', async (view, [, study]) => (await import('./study.js')).showStudy(view, `studies/${study}`)],
  [/^\/studies\/(\d+)\/report$/, 'Studies', async (view, [, study]) => (await import('./study_report.js')).showReport(view, `studies/${study}`)],
  [/^\/hosts$/, 'Hosts', async (view) => (await import('./hosts.js')).showHosts(view)],
];
const MENU = [['Jobs', '/jobs'], ['Compare', '/compare'], ['Studies', '/studies'], ['Hosts', '/hosts']];

// What a view needs of the page: where it draws, who looks, and where it says what is to end with it.
class View {
  constructor(main, server) {
    this.main = main;
    this.server = server;
    this.ended = new AbortController();
  }
  get signal() { return this.ended.signal; }
  title(text) { document.title = `${text} · syncbn`; }
  onEnd(end) { this.signal.addEventListener('abort', end, { once: true }); }
  every(milliseconds, look) {
    const timer = setInterval(() => { if (!document.hidden) look(); }, milliseconds);
    this.onEnd(() => clearInterval(timer));
  }
  may(submitter) {
    const { caller, caller_role: role, caller_teammates: mates = [] } = this.server ?? {};
    if (role === 'admin') return true;
    return role === 'submitter' && (caller === submitter || mates.includes('*') || mates.includes(submitter));
  }
  get submits() { return ['submitter', 'admin'].includes(this.server?.caller_role); }
  get isAdmin() { return this.server?.caller_role === 'admin'; }
}

// A view that is left cuts off what it has asked for: nobody waits for that, and it is no fault.
addEventListener('unhandledrejection', (event) => { if (event.reason?.name === 'AbortError') event.preventDefault(); });

let server = null, view = null;

function drawTop(chosen) {
  const who = server && h('span', { class: 'who' }, h('span', {}, server.caller, h('span', { class: 'quiet' }, ` ${server.caller_role}`)),
    hasToken() && h('button', { type: 'button', class: 'small', onclick: () => { forgetToken(); location.assign('/'); } }, 'Sign out'));
  fill(document.getElementById('top'), h('a', { class: 'brand', href: '/' }, h('span', { class: 'logo', 'aria-hidden': 'true' }), 'syncbn'),
    h('nav', { 'aria-label': 'Views' }, MENU.map(([name, to]) => h('a', { href: to, 'aria-current': name === chosen ? 'page' : null }, name))), who);
}

function showError(main, error) {
  fill(main, h('div', { class: 'panel bad' }, h('h1', {}, error.status === 404 ? 'There is no such thing' : 'This cannot be shown'),
    h('p', {}, error.message), h('p', {}, location.pathname.startsWith('/studies') ? h('a', { href: '/studies' }, 'All studies') : h('a', { href: '/jobs' }, 'All jobs'))));
}

async function signIn(why) {
  const { showLogin } = await import('./login.js');
  view?.ended.abort();
  server = null;
  drawTop('');
  showLogin(document.getElementById('main'), why, move);
}

async function move() {
  view?.ended.abort();
  say('');
  const main = document.getElementById('main');
  const { path } = address.current();
  const [found, menu, show] = VIEWS.map(([pattern, ...rest]) => [pattern.exec(path), ...rest]).find(([match]) => match) ?? [];
  const mine = view = new View(main, server);
  drawTop(menu);
  if (!found) {
    mine.title('Not found');
    fill(main, h('div', { class: 'panel bad' }, h('h1', {}, 'There is nothing at this address'), h('p', {}, h('code', {}, path), ' is no page of this dashboard.'),
      h('p', {}, MENU.map(([name, to], i) => [i > 0 && ' \u00b7 ', h('a', { href: to }, name)]))));
    return;
  }
  const known = server ? Promise.resolve() : call('ClusterService/GetServer').then((answer) => {
    server = answer;
    mine.server = answer;
    drawTop(menu);
  });
  mine.known = known;
  try {
    await Promise.all([known, show(mine, found)]);
  } catch (error) {
    if (mine.signal.aborted || error.status === 401) return;
    showError(main, error);
  }
}

// Several calls of a page may find it out at the same time.
let signingIn = false;
window.addEventListener('syncbn-signed-out', async (event) => {
  if (signingIn) return;
  signingIn = true;
  await signIn(hasToken() ? event.detail : '');
  signingIn = false;
});

address.start(move);
move();
