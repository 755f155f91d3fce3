// Numbers and times as people read them.

export const STATES = {
  QUEUED: ['Queued', 'wait'], STARTING: ['Starting', 'run'], RUNNING: ['Running', 'run'], PAUSING: ['Pausing', 'wait'],
  PAUSED: ['Paused', 'wait'], RECOVERING: ['Recovering', 'warn'], CANCELLING: ['Cancelling', 'wait'],
  SUCCEEDED: ['Succeeded', 'good'], FAILED: ['Failed', 'bad'], CANCELLED: ['Cancelled', 'off'],
};
const ENDED = new Set(['SUCCEEDED', 'FAILED', 'CANCELLED']);

export const hasEnded = (state) => ENDED.has(state);
export const shortName = (name) => `#${(name ?? '').replace(/^(jobs|studies)\//, '')}`;

export function number(value, digits = 4) {
  const n = Number(value);
  if (value === undefined || value === null || value === '') return '–';
  if (!Number.isFinite(n)) return Number.isNaN(n) ? 'not a number' : n > 0 ? '∞' : '−∞';
  if (n === 0) return '0';
  const size = Math.abs(n);
  const text = size >= 1e6 || size < 1e-4 ? n.toExponential(Math.max(0, digits - 2))
    : Number.isInteger(n) ? String(n) : String(Number(n.toPrecision(digits)));
  return text.replace('-', '−').replace('e+', 'e').replace('e−', 'e−');
}

export const whole = (value) => Number(value ?? 0).toLocaleString('en-US').replaceAll(',', '\u202f');
export const percent = (value) => (Number.isFinite(Number(value)) ? `${(Number(value) * 100).toFixed(1)} %` : '–');

export function bytes(value) {
  let amount = Number(value ?? 0), unit = 0;
  for (; amount >= 1024 && unit < 4; ++unit) amount /= 1024;
  return `${unit === 0 ? amount : amount.toFixed(1)} ${['B', 'KiB', 'MiB', 'GiB', 'TiB'][unit]}`;
}

export function duration(seconds) {
  if (!Number.isFinite(seconds) || seconds < 0) return '–';
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

// "12.5s", as protobuf writes a duration.
export const secondsOf = (text) => (text ? Number(text.replace('s', '')) : NaN);
export const timeOf = (text) => (text ? Date.parse(text) : NaN);

const twoDigits = (n) => String(n).padStart(2, '0');
export function clock(text) {
  const t = timeOf(text);
  if (!Number.isFinite(t)) return '–';
  const d = new Date(t), now = new Date();
  const time = `${twoDigits(d.getHours())}:${twoDigits(d.getMinutes())}:${twoDigits(d.getSeconds())}`;
  return d.toDateString() === now.toDateString() ? time
    : `${d.getFullYear()}-${twoDigits(d.getMonth() + 1)}-${twoDigits(d.getDate())} ${time.slice(0, 5)}`;
}

// How long a job has been at it over all attempts, without pauses; NaN: not yet.
export const spent = (job) => secondsOf(job.used_time) || NaN;

export function plural(count, word) {
  return `${count} ${word}${count === 1 ? '' : word.endsWith('y') ? '' : 's'}`;
}

export function statistics(values) {
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const spread = n > 1 ? Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1)) : NaN;
  return { n, mean, spread, least: Math.min(...values), greatest: Math.max(...values) };
}
