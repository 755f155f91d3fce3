// Elements, made of data alone. Whatever a job wrote becomes text here, never markup.

// The chart library sets innerHTML, to nothing and to the numbers beside its axes. This is the one
// policy that the page's headers allow, and it lets no markup through.
if (window.trustedTypes) {
  window.trustedTypes.createPolicy('default', {
    createHTML: (text) => {
      if (/[<&]/.test(text)) throw new TypeError('text is no HTML here');
      return text;
    },
  });
}

// Characters that are not seen, or that change how others are: shown as signs for them.
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f]/g;
const TURNING = /[\u0080-\u009f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff]/g;

export function visible(text) {
  return String(text)
    .replace(CONTROL, (c) => (c === '\u007f' ? '\u2421' : String.fromCharCode(0x2400 + c.charCodeAt(0))))
    .replace(TURNING, '\ufffd');
}

const LINKS = new Set(['href', 'src', 'action', 'formaction']);

function set(element, name, value) {
  if (value === undefined || value === null || value === false) return;
  if (name.startsWith('on')) {
    element.addEventListener(name.slice(2), value);
  } else if (name === 'value' || name === 'checked') {
    element[name] = value;
  } else if (LINKS.has(name) && !/^(\/(?!\/)|#|blob:)/.test(value)) {
    throw new TypeError(`${name} leads elsewhere`);
  } else {
    element.setAttribute(name, value === true ? '' : visible(value));
  }
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false || child === '') continue;
    element.append(child instanceof Node ? child : visible(child));
  }
}

// h('a', { href: '/jobs/1', class: 'name' }, 'text', h('b', {}, 'more'))
export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) set(element, name, value);
  append(element, children);
  return element;
}

const SVG = 'http://www.w3.org/2000/svg';
export function svg(tag, properties, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(properties ?? {})) set(element, name, value);
  append(element, children);
  return element;
}

// How an element that holds the focus is found again among those that take its place.
function nameOf(element) {
  const name = ['data-key', 'href', 'aria-label'].find((one) => element.hasAttribute(one));
  return name ? `${element.tagName.toLowerCase()}[${name}="${CSS.escape(element.getAttribute(name))}"]` : null;
}

// What holds the focus is put in the place of what held it.
function keepFocus(element, change) {
  const held = element.contains(document.activeElement) ? nameOf(document.activeElement) : null;
  change();
  if (held && !element.contains(document.activeElement)) element.querySelector(held)?.focus();
  return element;
}

function fragmentOf(children) {
  const fragment = document.createDocumentFragment();
  append(fragment, children);
  return fragment;
}

// Puts `children` into the element, in the place of all that was there, unless it is the same.
export function fill(element, ...children) {
  const fresh = fragmentOf(children);
  const same = element.childNodes.length === fresh.childNodes.length &&
    [...fresh.childNodes].every((node, i) => node.isEqualNode(element.childNodes[i]));
  return keepFocus(element, () => { if (!same) element.replaceChildren(fresh); });
}

// Whether one may stay for the other, with other children. What does something when it is used is not taken for
// another thing; whether details are open is the reader's choice.
function alike(one, other) {
  if (one.nodeType !== Node.ELEMENT_NODE || one.nodeName !== other.nodeName || one.matches('button, input, select, textarea')) return false;
  const attributes = (element) => [...element.attributes].filter(({ name }) => name !== 'open');
  return attributes(one).length === attributes(other).length && attributes(one).every(({ name, value }) => other.getAttribute(name) === value);
}

function merge(element, fresh) {
  const there = [...element.childNodes], wanted = [...fresh.childNodes];
  wanted.forEach((child, i) => {
    const old = there[i];
    if (!old) element.append(child);
    else if (old.isEqualNode(child)) return;
    else if (alike(old, child)) merge(old, child);
    else old.replaceWith(child);
  });
  for (const old of there.slice(wanted.length)) old.remove();
}

// The same for what changes while it is looked at and used: only what is another thing than before is replaced. A
// click whose button is replaced while the mouse is down on it is lost. Listeners of what stays are those of before:
// whatever they depend on must be among the attributes.
export function update(element, ...children) {
  return keepFocus(element, () => merge(element, fragmentOf(children)));
}

// A table: rows of cells, each text, node, or { class, content }. In a narrow window its rows are cards, whose cells
// are named by their columns; in a wide one the wrapper scrolls sideways, and shows that there is more.
export function table(caption, columns, rows, properties) {
  const isCell = (content) => content && typeof content === 'object' && !(content instanceof Node) && !Array.isArray(content);
  const inside = (content) => (isCell(content) ? content.content : content);
  const cell = (tag, content, properties) => h(tag, { ...properties, class: isCell(content) ? content.class : null }, inside(content));
  const words = columns.map((column) => h('span', {}, inside(column)).textContent || null);
  return h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption },
    h('table', properties ?? {}, h('caption', { class: 'unseen' }, caption),
      h('thead', {}, h('tr', {}, columns.map((column) => cell('th', column, { scope: 'col' })))),
      h('tbody', {}, rows.map((row) => row instanceof Node ? row :
        h('tr', {}, row.map((content, i) => cell(i === 0 ? 'th' : 'td', content, { scope: i === 0 ? 'row' : null, 'data-label': words[i] })))))));
}
