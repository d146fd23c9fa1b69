// The page of a pairing link: shows the state that the server tells, and gives it a person's answers. Nothing else.
'use strict';

const $ = (id) => document.getElementById(id);
const link = location.pathname.split('/').pop();

const WORDS = {
  wait: 'Please wait…',
  scan: 'Waiting for your phone.',
  passkey: 'WhatsApp asks for your passkey.',
  confirm: 'Compare the code with the one on your phone.',
  paired: 'Your WhatsApp is linked.',
  failed: 'Linking did not work.',
  over: 'This link has ended.',
};
const LAST = ['paired', 'failed', 'over'];
let source, face, until, shownCode, lost;

function say(text) {
  // Set only when it changes: screen readers read each setting aloud.
  if ($('status').textContent !== text) $('status').textContent = text;
}

function show(next) {
  if (next === face) return;
  for (const section of document.querySelectorAll('.face')) section.hidden = section.id !== next;
  say(WORDS[next]);
  const heading = $(next).querySelector('h2');
  // The person's place on the page moves along with it, but not at the start.
  if (heading && face && next !== 'scan') {
    heading.tabIndex = -1;
    heading.focus();
  }
  face = next;
}

function take(view) {
  if (view.qr) $('qr').src = view.qr;
  if (view.face === 'passkey') {
    $('options').value = JSON.stringify(view.options);
    $('passkey-site').textContent = view.options?.rpId ?? 'WhatsApp';
  }
  if (view.face === 'confirm') $('confirm-code').textContent = view.code ?? '';
  if (view.face === 'paired') $('paired-phone').textContent = view.phone ? `The number +${view.phone} is linked.` : '';
  if (view.face === 'failed') $('failed-why').textContent = view.message ? `${view.message[0].toUpperCase()}${view.message.slice(1)}.` : '';
  show(view.face);
  if (lost) say(WORDS[view.face]);
  lost = false;
  code(view.face === 'scan' ? view : {});
  if (LAST.includes(view.face)) source.close();
}

function code(view) {
  until = view.codeUntil;
  $('code-box').hidden = !view.code;
  if (view.code !== shownCode) {
    if (view.code) say('Type the code on your phone.');
    // Letter by letter, for screen readers.
    $('spoken').textContent = view.code ? `Your code is ${[...view.code.replace('-', '')].join(' ')}.` : '';
  }
  shownCode = view.code;
  $('code').textContent = view.code ?? '';
  tick();
}

function tick() {
  const left = until ? Math.max(0, Math.round((until - Date.now()) / 1000)) : 0;
  $('code-until').textContent = !until ? '' : left ? `Good for ${Math.floor(left / 60)}:${String(left % 60).padStart(2, '0')} more minutes.` : 'This code has ended. Get a new one.';
}

function follow() {
  face = undefined;
  show('wait');
  source = new EventSource(`${link}/state`);
  source.onmessage = (event) => take(JSON.parse(event.data));
  source.onerror = async () => {
    if (source.readyState !== EventSource.CLOSED) {
      lost = true;
      return say('Connection lost. Connecting again…');
    }
    // The server has refused: find out why.
    const answer = await fetch(`${link}/state`, { headers: { accept: 'application/json' } }).catch(() => null);
    if (answer?.ok) {
      answer.body.cancel();
      return follow();
    }
    if (answer?.status === 404) return take({ face: 'over' });
    const why = answer ? (await answer.json().catch(() => ({}))).message : 'the gateway cannot be reached';
    take({ face: 'failed', message: why ?? 'the gateway cannot help now' });
  };
}

async function send(path, body, button, problem) {
  if (button.getAttribute('aria-disabled') === 'true') return false;
  button.setAttribute('aria-disabled', 'true');
  problem.hidden = true;
  try {
    const answer = await fetch(`${link}/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (answer.ok) return true;
    const { message, retryAfterSeconds } = await answer.json().catch(() => ({}));
    throw new Error((message ?? 'the gateway cannot help now') + (retryAfterSeconds ? `; try again in ${retryAfterSeconds} seconds` : ''));
  } catch (error) {
    const text = error instanceof TypeError ? 'the gateway cannot be reached' : error.message;
    problem.textContent = `${text[0].toUpperCase()}${text.slice(1)}.`;
    problem.hidden = false;
    return false;
  } finally {
    button.removeAttribute('aria-disabled');
  }
}

$('number-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const button = event.target.querySelector('button');
  say('Asking WhatsApp for a code…');
  if (!(await send('code', { phone: $('phone').value }, button, $('number-problem')))) say(WORDS.scan);
});

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');

async function usePasskey() {
  const asked = JSON.parse($('options').value);
  const allowCredentials = (asked.allowCredentials ?? []).map((one) => ({ ...one, id: bytes(one.id) }));
  const publicKey = { ...asked, challenge: bytes(asked.challenge), allowCredentials };
  const got = await navigator.credentials.get({ publicKey });
  const { clientDataJSON, authenticatorData, signature, userHandle } = got.response;
  return {
    id: got.id,
    rawId: text(got.rawId),
    type: got.type,
    response: {
      clientDataJSON: text(clientDataJSON),
      authenticatorData: text(authenticatorData),
      signature: text(signature),
      userHandle: userHandle ? text(userHandle) : null,
    },
  };
}

$('passkey-use').addEventListener('click', async (event) => {
  const problem = $('passkey-problem');
  let assertion;
  try {
    assertion = await usePasskey();
  } catch (error) {
    const elsewhere = !navigator.credentials || error.name === 'SecurityError';
    problem.textContent = elsewhere ? 'This browser cannot use that passkey on this page.' : 'The passkey was not used.';
    problem.hidden = false;
    if (elsewhere) document.querySelector('#passkey details').open = true;
    return;
  }
  await send('passkey', { assertion: JSON.stringify(assertion) }, event.target, problem);
});

$('options-copy').addEventListener('click', async () => {
  $('options').select();
  try {
    await navigator.clipboard.writeText($('options').value);
    say('The request is copied.');
  } catch {
    say('Copy the marked text.');
  }
});

$('answer-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  await send('passkey', { assertion: $('assertion').value }, event.target.querySelector('button'), $('passkey-problem'));
});

$('confirm-yes').addEventListener('click', async (event) => {
  if (await send('confirm', {}, event.target, $('confirm-problem'))) show('wait');
});

$('again').addEventListener('click', follow);
setInterval(tick, 1000);
follow();
