// What may be done with a job, for those who may.
import { h } from './dom.js';
import { change } from './api.js';
import { go, compareAddress } from './address.js';
import { shortName } from './format.js';

// Verb, method, the states in which it applies, what to ask before.
const VERBS = [
  ['Pause', 'PauseJob', ['QUEUED', 'STARTING', 'RUNNING', 'RECOVERING']],
  ['Resume', 'ResumeJob', ['PAUSED']],
  ['Retry', 'RetryJob', ['FAILED', 'CANCELLED']],
  ['Cancel', 'CancelJob', ['QUEUED', 'STARTING', 'RUNNING', 'PAUSING', 'PAUSED', 'RECOVERING'], 'ends for good: its workers write a checkpoint and leave.'],
  ['Delete', 'DeleteJob', ['SUCCEEDED', 'FAILED', 'CANCELLED'], 'is forgotten with its metrics, logs and history; what it wrote in its output folder stays.'],
];

// Resolves to whether the answer is `yes`. Both answers say what comes of them: "Cancel" alone could be either.
export function ask(title, text, { yes, no }) {
  return new Promise((resolve) => {
    const dialog = h('dialog', { 'aria-labelledby': 'question' }, h('form', { method: 'dialog' }, h('h2', { id: 'question' }, title), h('p', {}, text),
      h('div', { class: 'actions' }, h('button', { value: 'no' }, no), h('button', { value: 'yes', class: 'danger' }, yes))));
    dialog.addEventListener('close', () => { dialog.remove(); resolve(dialog.returnValue === 'yes'); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

// What the answers are called, of a `word` for a job or a study.
export const answers = (word, what, state) => ({ yes: `${word} the ${what}`, no: state === 'RUNNING' ? 'Keep running' : `Keep the ${what}` });

export function actions(view, job, changed) {
  const error = h('span', { class: 'error', role: 'alert' });
  const may = view.server && view.may(job.submitter);
  const buttons = !may ? [] : VERBS.filter(([, , states]) => states.includes(job.state)).map(([word, method, , question]) =>
    h('button', { type: 'button', 'data-key': word, class: question ? 'danger' : null, onclick: async (event) => {
      const button = event.currentTarget;
      if (question && !await ask(`${word} ${shortName(job.name)}?`, `${job.display_name || 'The job'} ${question}`, answers(word, 'job', job.state))) return;
      button.disabled = true;
      error.textContent = '';
      try {
        const answer = await change(`JobService/${method}`, { name: job.name });
        if (method === 'DeleteJob') go('/jobs');
        else changed(answer);
      } catch (failure) {
        error.textContent = failure.message;
      }
      button.disabled = false;
    } }, word));
  return h('span', { class: 'actions', 'data-state': job.state }, error, h('a', { class: 'button', href: compareAddress([job.name]) }, 'Compare'), buttons);
}
