// Hosts, what they hold, the queue, and the coordinator itself.
import { h, fill, table, update } from './dom.js';
import { all, call, change } from './api.js';
import { clock, shortName, whole } from './format.js';

const KINDS = { READY: ['Ready', 'good'], DRAINED: ['Drained', 'wait'], EXCLUDED: ['Excluded', 'bad'] };

function slots(host) {
  const used = host.used_slots ?? 0, there = host.slots ?? 0;
  return h('span', { class: 'advance' }, h('progress', { max: String(there || 1), value: used, 'aria-label': 'Slots in use' }), h('span', {}, `${used} / ${there}`));
}

export async function showHosts(view) {
  view.title('Hosts');
  const body = h('div', {}), queue = h('div', {}), own = h('div', {}), error = h('p', { class: 'error', role: 'alert' });
  fill(view.main, h('div', { class: 'head' }, h('h1', {}, 'Hosts')), error, body, h('h2', {}, 'Queue'), queue, h('h2', {}, 'Coordinator'), own);
  const act = (word, method, host) => h('button', { type: 'button', class: 'small', 'data-key': `${word} ${host.name}`, onclick: async () => {
    error.textContent = '';
    try { await change(`ClusterService/${method}`, { name: host.name }); await load(); } catch (failure) { error.textContent = failure.message; }
  } }, word);
  async function load() {
    const [hosts, waiting, server] = await Promise.all([all('ClusterService/ListHosts', {}, 'hosts', { signal: view.signal }),
      call('ClusterService/GetQueue', {}, { signal: view.signal }), call('ClusterService/GetServer', {}, { signal: view.signal })]);
    update(body, hosts.length === 0 ? h('p', { class: 'quiet' }, 'The batch system chooses hosts.') : table('Hosts', ['Host', 'State', 'Slots', 'Memory', 'Jobs', 'Tags', ''], hosts.map((host) => {
      const [word, kind] = KINDS[host.state] ?? [host.state, 'off'];
      return [host.name.replace('hosts/', ''), h('span', {}, h('span', { class: `badge ${kind}` }, word), host.reason ? h('span', { class: 'why' }, ` ${host.reason}`) : '', host.excluded_until ? ` until ${clock(host.excluded_until)}` : ''),
        slots(host), Number(host.memory_mib) ? `${whole(host.used_memory_mib)} / ${whole(host.memory_mib)} MiB` : '',
        (host.uses ?? []).map((use, i) => [i ? ', ' : '', h('a', { href: `/${use.job}` }, `${shortName(use.job)} × ${use.processes ?? 0}`)]), (host.tags ?? []).join(', '),
        !view.isAdmin ? '' : host.state === 'READY' ? act('Drain', 'DrainHost', host) : act('Restore', 'RestoreHost', host)];
    })));
    const entries = waiting.entries ?? [];
    update(queue, entries.length === 0 ? h('p', { class: 'quiet' }, `Nothing waits; ${waiting.free_slots ?? 0} of ${waiting.slots ?? 0} slots are free.`)
      : table('Queue', [{ class: 'figure', content: 'Place' }, 'Job', { class: 'figure', content: 'Priority' }, 'Waits because it', 'Since'], entries.map((entry, i) => [
        { class: 'figure', content: String(entry.pending?.position ?? i + 1) }, h('a', { href: `/${entry.job}` }, `${shortName(entry.job)} ${entry.display_name ?? ''}`),
        { class: 'figure', content: String(entry.priority ?? 0) }, entry.pending?.message ?? '', clock(entry.queue_time)])));
    update(own, h('dl', { class: 'facts' }, [['Version', server.version], ['Launcher', server.launcher], ['Since', clock(server.start_time)], ['Jobs', whole(server.jobs)],
      ['Metric points', whole(server.metric_points)], ['Store', `${(Number(server.store_bytes ?? 0) / 2 ** 20).toFixed(1)} MiB`]].map(([word, value]) => h('div', {}, h('dt', {}, word), h('dd', {}, value)))));
  }
  await load();
  view.known.then(load, () => {});
  view.every(3000, () => load().catch(() => {}));
}
