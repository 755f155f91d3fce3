// Asks for a token. It is kept by the browser for this origin alone, and shown in a header of each call.
import { h, fill } from './dom.js';
import { call, forgetToken, keepToken } from './api.js';

export function showLogin(main, why, done) {
  document.title = 'Sign in · syncbn';
  const error = h('p', { class: 'error', role: 'alert' }, why);
  const token = h('input', { type: 'password', id: 'token', name: 'token', autocomplete: 'current-password', required: true, spellcheck: 'false' });
  const keep = h('input', { type: 'checkbox', id: 'keep' });
  const submit = async (event) => {
    event.preventDefault();
    const secret = token.value.trim();
    try {
      if (!/^[\x21-\x7e]+$/.test(secret)) throw new Error('This is no token: it has letters, digits and signs without blanks.');
      await call('ClusterService/GetServer', {}, { token: secret });
      keepToken(secret, keep.checked);
      done();
    } catch (failure) {
      forgetToken();
      error.textContent = failure.message;
      token.select();
    }
  };
  forgetToken();
  fill(main, h('form', { class: 'panel login', onsubmit: submit },
    h('h1', {}, 'Sign in'),
    h('p', { class: 'quiet' }, 'With the token that the command line uses. An administrator makes one with ', h('code', {}, 'syncbn token create'), '.'),
    h('label', { for: 'token' }, 'Token'), token,
    h('label', { class: 'check' }, keep, 'Stay signed in on this computer'),
    error, h('button', { type: 'submit', class: 'primary' }, 'Sign in')));
  token.focus();
}
