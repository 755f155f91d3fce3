// Where we are: every view has an address, and a change of what a view shows changes it.

let onMove = () => {};

export function current() {
  return { path: location.pathname, query: new URLSearchParams(location.search) };
}

export function go(address) {
  if (address === location.pathname + location.search) return;
  history.pushState(null, '', address);
  onMove();
}

// Notes something of the view in the address, without a new entry in the history; empty: nothing.
export function note(values) {
  const query = new URLSearchParams(location.search);
  for (const [key, value] of Object.entries(values)) {
    if (value === '' || value === null || value === undefined) query.delete(key);
    else query.set(key, value);
  }
  const text = query.toString();
  history.replaceState(null, '', location.pathname + (text ? `?${text}` : ''));
}

export function jobAddress(name, tab) {
  return `/${encodeURI(name)}${tab ? `/${tab}` : ''}`;
}

export function compareAddress(names, more = {}) {
  const query = new URLSearchParams({ jobs: names.map((name) => name.replace('jobs/', '')).join(','), ...more });
  return `/compare?${query}`;
}

export function start(moved) {
  onMove = moved;
  window.addEventListener('popstate', () => onMove());
  // Links of ours change the view; those that open another tab or load a file stay what they are.
  document.addEventListener('click', (event) => {
    const link = event.target.closest?.('a[href^="/"]');
    if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey ||
        link.hasAttribute('download')) return;
    event.preventDefault();
    go(link.getAttribute('href'));
  });
}
