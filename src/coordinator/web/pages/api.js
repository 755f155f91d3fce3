// Calls of the API as JSON (coordinator/web/gateway.h): the same methods and messages as by gRPC.

const PREFIX = '/api/v1/';
const KEY = 'syncbn-token';

export class CallError extends Error {
  constructor(status, body) {
    super(body.message || `the coordinator answers with ${status}`);
    this.status = status;
    this.code = body.code ?? '';
    this.reason = body.reason ?? '';
    this.errors = body.errors ?? [];
    this.field = body.metadata?.field ?? '';  // the one that is wrong, of FIELD_INVALID
  }
}

export function hasToken() {
  return Boolean(sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY));
}

export function keepToken(token, beyondThisTab) {
  forgetToken();
  (beyondThisTab ? localStorage : sessionStorage).setItem(KEY, token);
}

export function forgetToken() {
  sessionStorage.removeItem(KEY);
  localStorage.removeItem(KEY);
}

function post(path, body, signal, token) {
  const secret = token ?? sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY);
  const headers = { 'Content-Type': 'application/json' };
  if (secret) headers.Authorization = `Bearer ${secret}`;
  return fetch(PREFIX + path, { method: 'POST', headers, body: JSON.stringify(body), signal, credentials: 'omit', cache: 'no-store' }).catch((error) => {
    if (error.name === 'AbortError') throw error;
    throw new CallError(0, { message: 'The coordinator cannot be reached. Try again when it answers.', code: 'UNAVAILABLE' });
  });
}

async function check(response, tried) {
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  const error = new CallError(response.status, body);
  if (error.status === 401 && !tried) window.dispatchEvent(new CustomEvent('syncbn-signed-out', { detail: error.message }));
  throw error;
}

// call('JobService/GetJob', { name: 'jobs/1' })
export async function call(method, request = {}, options = {}) {
  const response = await check(await post(method, request, options.signal, options.token), options.token);
  return response.json();
}

// A change: with an id of its own, so that it is done once however often it is sent.
export function change(method, request) {
  return call(method, { ...request, request_id: crypto.randomUUID?.() ?? String(Math.random()).slice(2) + Date.now() });
}

// Streams until all have ended or the signal says so; `on(id, { message } or { end })` hears of each event.
export async function stream(parts, on, signal) {
  const response = await check(await post('stream', { streams: parts }, signal));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    let end;
    while ((end = text.indexOf('\n\n')) >= 0) {
      const [, id, data] = /^event: (.*)\ndata: (.*)$/s.exec(text.slice(0, end)) ?? [];
      text = text.slice(end + 2);
      if (id) on(id, JSON.parse(data));
    }
  }
}

// All pages of a list.
export async function all(method, request, field, options) {
  const found = [];
  let token = '';
  do {
    const page = await call(method, { ...request, page_token: token }, options);
    found.push(...(page[field] ?? []));
    token = page.next_page_token ?? '';
  } while (token);
  return found;
}

export function decodeBytes(base64) {
  const binary = atob(base64 ?? '');
  return Uint8Array.from(binary, (c) => c.charCodeAt(0));
}
