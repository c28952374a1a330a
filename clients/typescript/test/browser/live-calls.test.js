import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  action,
  createForgeClient,
  createOutbox,
  mutation,
  query,
} from '../../node_modules/.cache/forge-client/client/client.js';
import { fail, ok, rejection } from '../backend.js';
import { status, watch, wire } from '../wire.js';

const listCards = query('list_cards');
const addCard = mutation('add_card');
const importCards = action('import_cards');

/** A client with an open connection; HTTP answers what was called. */
async function begin(t, options = {}, answer = ({ name }) => ok(`http ${name}`)) {
  const server = await wire(t, { answer, greet: options.greet });
  const client = createForgeClient({
    url: server.url,
    ...options,
    live: { retryDelay: 60_000, ...options.live },
  });
  t.after(() => client.connection.close());
  const cards = watch(client, listCards, {});
  const session = await server.session();
  const { id } = await session.next('subscribe');
  await status(client, 'open');
  return { server, client, session, cards, id };
}

test('calls go over the connection while it is open', async (t) => {
  const { server, client, session } = await begin(t);
  const added = client.mutate(addCard, { title: 'x' });
  const call = await session.next('call');
  assert.deepEqual(Object.keys(call), ['type', 'id', 'function', 'args', 'mutationId']);
  assert.deepEqual([call.function, call.args], ['add_card', { title: 'x' }]);
  assert.match(call.mutationId, /^[0-9a-f-]{36}$/);
  const [read, done] = [client.query(listCards), client.action(importCards, { url: 'u' })];
  const second = await session.next('call');
  const third = await session.next('call');
  assert.deepEqual([second.args, second.mutationId, third.mutationId], [{}, undefined, undefined]);
  // Answers may come in any order.
  session.send({ type: 'reply', id: third.id, data: 3 });
  session.done(call, null);
  session.send({ type: 'reply', id: second.id, data: [2] });
  assert.deepEqual(await Promise.all([added, read, done]), [null, [2], 3]);
  assert.deepEqual(server.requests, []);
});

/** Calls a mutation that is answered, and says whether it has resolved. */
async function answered({ client, session }, options) {
  const state = { over: false, added: client.mutate(addCard, { title: 'two' }, options) };
  void state.added.then(() => (state.over = true));
  state.call = await session.next('call');
  session.send({ type: 'reply', id: state.call.id, data: 'added' });
  return state;
}

test('a mutation is over when what it did is in the results', async (t) => {
  const opened = await begin(t);
  const { session, cards, id } = opened;
  const one = await answered(opened);
  session.frame([{ id, version: '1', data: ['theirs'] }], ['another']);
  await cards.until((now) => now.data);
  assert.equal(one.over, false);
  session.frame([{ id, version: '2', data: ['theirs', 'two'] }], [one.call.mutationId]);
  assert.equal(await one.added, 'added');
  assert.deepEqual(cards.current.data, ['theirs', 'two']);
});

test('a mutation that was answered is over when the connection breaks, or when its effect takes too long to show', async (t) => {
  const opened = await begin(t);
  const timers = t.mock.method(globalThis, 'setTimeout');
  const slow = await answered(opened);
  const due = () => timers.mock.calls.find(({ arguments: [, delay] }) => delay === 2_000);
  while (!due()) await new Promise(setImmediate);
  assert.equal(slow.over, false);
  // Not waited for: two seconds are over.
  due().arguments[0]();
  assert.equal(await slow.added, 'added');
  timers.mock.restore();
  const lost = await answered(opened);
  // Answered, when a later one is.
  const read = opened.client.query(listCards);
  opened.session.send({ type: 'reply', id: (await opened.session.next('call')).id, data: [] });
  await read;
  assert.equal(lost.over, false);
  opened.session.cut();
  assert.equal(await lost.added, 'added');
});

test('the next one of an outbox does not wait for the effect to show', async (t) => {
  const opened = await begin(t);
  const outbox = createOutbox();
  const first = await answered(opened, { outbox });
  const second = await answered(opened, { outbox });
  assert.equal(first.over, false);
  opened.session.frame([], [first.call.mutationId, second.call.mutationId]);
  assert.deepEqual(await Promise.all([first.added, second.added]), ['added', 'added']);
});

test('what a connection cannot carry goes over HTTP', async (t) => {
  const { server, client, session } = await begin(t);
  await client.query(listCards, {}, { signal: new AbortController().signal });
  await client.mutate(addCard, {}, { auth: false });
  await client.mutate(addCard, { text: 'x'.repeat(70_000) });
  assert.equal(server.requests.length, 3);
  assert.equal(session.waiting, 0);
  const { client: other, server: own } = await begin(t, { headers: { 'x-tenant': 't' } });
  await other.query(listCards);
  assert.equal(own.requests[0].headers['x-tenant'], 't');
  const before = createForgeClient({ url: server.url });
  await before.query(listCards);
  assert.equal(server.requests.length, 4);
});

test('an error is the same as over HTTP, and what may pass is repeated with the same id', async (t) => {
  const { client, session } = await begin(t);
  const failing = client.mutate(addCard, {});
  const first = await session.next('call');
  const away = { code: 'DATABASE_UNAVAILABLE', message: 'away' };
  session.send({ type: 'reply', id: first.id, error: away });
  const second = await session.next('call');
  assert.equal(second.mutationId, first.mutationId);
  assert.notEqual(second.id, first.id);
  const refused = { code: 'VALIDATION_ERROR', message: 'no', details: { title: ['too long'] } };
  session.send({ type: 'reply', id: second.id, error: refused });
  const error = await rejection(failing);
  assert.deepEqual([error.name, error.code, error.fields.title], ['ForgeError', 'VALIDATION_ERROR', ['too long']]);
});

test('a function that begins or ends a session is called over HTTP, and all is read anew', async (t) => {
  const { server, client, session, cards, id } = await begin(t);
  session.frame([{ id, version: '1', data: 'of nobody' }]);
  await cards.until((now) => now.data);
  const signedIn = client.mutate(mutation('sign_in'), {});
  const call = await session.next('call');
  session.send({ type: 'reply', id: call.id, error: { code: 'USE_HTTP', message: 'use HTTP' } });
  assert.equal(await signedIn, 'http sign_in');
  assert.equal(server.requests[0].headers['x-forge-mutation-id'], call.mutationId);
  assert.deepEqual([cards.current.data, cards.current.loading], [undefined, true]);
  // Nothing goes over the connection of whoever it was.
  assert.equal(client.connection.status, 'connecting');
  const next = await (await server.session()).next('subscribe');
  assert.equal(next.version, undefined);
  await session.ended;
});

test('an action that is refused over the connection may have refused itself, and is not repeated', async (t) => {
  const { client, server, session } = await begin(t);
  const called = rejection(client.action(importCards, {}));
  const { id } = await session.next('call');
  const before = server.requests.length;
  session.send({ type: 'reply', id, error: { code: 'UNAUTHORIZED', message: 'the bank says no' } });
  assert.equal((await called).message, 'the bank says no');
  assert.equal(server.requests.length, before);
});

test('a refusal over the connection is settled over HTTP', async (t) => {
  let token = 'old';
  const server = await wire(t, {
    answer: ({ headers }) =>
      headers.authorization === 'Bearer new' ? ok('fine') : fail(401, 'UNAUTHORIZED'),
  });
  const client = createForgeClient({
    url: server.url,
    getToken: ({ force }) => (force ? (token = 'new') : token),
  });
  t.after(() => client.connection.close());
  watch(client, listCards, {});
  const session = await server.session();
  await session.next('auth');
  session.send({ type: 'authenticated' });
  await session.next('subscribe');
  const called = client.query(listCards);
  const call = await session.next('call');
  session.send({ type: 'reply', id: call.id, error: { code: 'UNAUTHORIZED', message: 'expired' } });
  assert.equal(await called, 'fine');
  assert.equal(server.requests.length, 2);
  // The next call brings the new token, and goes over HTTP until that was accepted.
  assert.equal(await client.query(listCards), 'fine');
  assert.deepEqual(await session.next('auth'), { type: 'auth', token: 'new' });
  const third = watch(client, query('third'), {});
  const { id } = await session.next('subscribe');
  session.send({ type: 'authenticated' });
  session.frame([{ id, version: '1', data: 1 }]);
  await third.until((now) => now.data);
  const over = client.query(listCards);
  session.send({ type: 'reply', id: (await session.next('call')).id, data: 'over it' });
  assert.equal(await over, 'over it');
});

test('when the connection breaks, a mutation is repeated with its id, a query is asked again, an action fails', async (t) => {
  const { server, client, session } = await begin(t, { live: { retryDelay: 60_000 } });
  const added = client.mutate(addCard, {});
  const read = client.query(listCards);
  const acted = rejection(client.action(importCards, {}));
  const [call] = [await session.next('call'), await session.next('call'), await session.next('call')];
  server.refuse = true;
  session.cut();
  const error = await acted;
  assert.equal(error.code, 'NETWORK_ERROR');
  assert.match(error.message, /import_cards was sent, and the connection broke/);
  assert.deepEqual(await Promise.all([added, read]), ['http add_card', 'http list_cards']);
  const repeated = server.requests.find(({ name }) => name === 'add_card');
  assert.equal(repeated.headers['x-forge-mutation-id'], call.mutationId);
  assert.equal(server.requests.filter(({ name }) => name === 'import_cards').length, 0);
});

test('a call that is given up is over, and its answer is nobody’s', async (t) => {
  const { client, session } = await begin(t);
  const error = await rejection(client.mutate(addCard, {}, { timeout: 20 }));
  assert.equal(error.code, 'TIMEOUT');
  const { id } = await session.next('call');
  session.send({ type: 'reply', id, data: 1 });
  const next = client.query(listCards);
  session.send({ type: 'reply', id: (await session.next('call')).id, data: 2 });
  assert.equal(await next, 2);
});

test('no more calls are under way than the back end takes; the others wait, and are sent in order', async (t) => {
  const { server, client, session } = await begin(t);
  const all = Array.from({ length: 18 }, (_, n) => client.action(importCards, { n }));
  const settled = Promise.allSettled(all);
  const late = rejection(client.mutate(addCard, {}, { timeout: 20 }));
  const calls = [];
  for (let n = 0; n < 16; n++) calls.push(await session.next('call'));
  assert.equal((await late).code, 'TIMEOUT');
  assert.equal(session.waiting, 0);
  session.send({ type: 'reply', id: calls[0].id, data: 0 });
  assert.equal(await all[0], 0);
  assert.deepEqual((await session.next('call')).args, { n: 16 });
  // What was not sent when the connection breaks is sent over HTTP, an action too; what was, may have been done.
  server.refuse = true;
  session.cut();
  assert.equal(await all[17], 'http import_cards');
  assert.equal((await rejection(all[16])).code, 'NETWORK_ERROR');
  await settled;
  assert.equal(server.requests.length, 1);
});

test('the connection is not closed before a call was answered', async (t) => {
  const { client, session, cards } = await begin(t, { live: { linger: 10 } });
  const acted = client.action(importCards, {});
  const { id } = await session.next('call');
  const timers = t.mock.method(globalThis, 'setTimeout');
  cards.stop();
  await session.next('unsubscribe');
  // Its time has come twice.
  const due = () => timers.mock.calls.filter(({ arguments: [, delay] }) => delay === 10).length;
  while (due() < 3) await new Promise(setImmediate);
  assert.equal(client.connection.status, 'open');
  session.send({ type: 'reply', id, data: 'done' });
  assert.equal(await acted, 'done');
  await session.ended;
  assert.equal(client.connection.status, 'closed');
});

test('a read after a write over HTTP is sent with its position', async (t) => {
  const { server, client, session } = await begin(t, {}, ({ name }) =>
    ok(name, name === 'add_card' ? { 'x-forge-position': '0/1A' } : {}),
  );
  await client.mutate(addCard, {}, { signal: new AbortController().signal });
  assert.equal(await client.query(listCards), 'list_cards');
  assert.equal(server.requests[1].headers['x-forge-position'], '0/1A');
  // A write goes over the connection; the position of its answer counts too.
  const added = client.mutate(addCard, {});
  const { id, mutationId } = await session.next('call');
  session.send({ type: 'reply', id, data: 1, position: '0/2B' });
  session.frame([], [mutationId]);
  await added;
  await client.query(listCards);
  assert.equal(server.requests[2].headers['x-forge-position'], '0/2B');
});

test('somebody else’s token makes the connection theirs', async (t) => {
  const server = await wire(t, {
    answer: () => ok('http'),
    greet: (session) => (session.hello(), session.send({ type: 'authenticated' })),
  });
  let token = 'ada';
  const client = createForgeClient({ url: server.url, getToken: () => token });
  t.after(() => client.connection.close());
  const cards = watch(client, listCards, {});
  const first = await server.session();
  assert.equal((await first.next('auth')).token, 'ada');
  const { id } = await first.next('subscribe');
  first.frame([{ id, version: '1', data: 'of ada' }]);
  await cards.until((now) => now.data);
  token = 'bob';
  assert.equal(await client.query(listCards), 'http');
  assert.equal(server.requests[0].headers.authorization, 'Bearer bob');
  assert.equal((await first.next('auth')).token, 'bob');
  first.send({ type: 'error', code: 'FORBIDDEN', message: 'a session speaks for one user' });
  first.close(4400);
  const second = await server.session();
  assert.equal((await second.next('auth')).token, 'bob');
  assert.equal((await second.next('subscribe')).version, undefined);
  assert.equal(cards.current.data, undefined);
  // Nobody is signed in any more.
  token = undefined;
  await client.query(listCards);
  await second.ended;
});

for (const [why, code, over] of [
  ['UNAUTHORIZED', 4401, 'the connection'],
  // Which is not there again for a while.
  ['RATE_LIMITED', 1013, 'http'],
]) {
  test(`a renewed token that is refused with ${why} is nobody else’s: what is there stays`, async (t) => {
    const server = await wire(t, {
      answer: () => ok('http'),
      greet: (session) => (session.hello(), session.send({ type: 'authenticated' })),
    });
    let token = 'old';
    const client = createForgeClient({ url: server.url, getToken: () => token });
    t.after(() => client.connection.close());
    const cards = watch(client, listCards, {});
    const first = await server.session();
    await first.next('auth');
    const { id } = await first.next('subscribe');
    first.frame([{ id, version: '1', data: 'mine' }]);
    await cards.until((now) => now.data);
    const adding = client.mutate(addCard, {});
    const { mutationId } = await first.next('call');
    token = 'new';
    await client.query(listCards);
    assert.equal((await first.next('auth')).token, 'new');
    first.send({ type: 'error', code: why, message: 'not now' });
    first.close(code);
    const second = await server.session();
    assert.equal((await second.next('auth')).token, 'new');
    assert.equal((await second.next('subscribe')).version, '1');
    assert.equal(cards.current.data, 'mine');
    // What was under way is asked again, as the same.
    if (over !== 'http') {
      const again = await second.next('call');
      assert.equal(again.mutationId, mutationId);
      second.done(again, over);
    }
    assert.equal(await adding, over);
  });
}

test('a renewed token that is refused twice is renewed by force, and nobody is signed out', async (t) => {
  const server = await wire(t, { answer: () => ok('http'), greet: (session) => session.hello() });
  let token = 'old';
  const getToken = ({ force } = {}) => (force ? (token = 'forced') : token);
  let signedOut = 0;
  const client = createForgeClient({ url: server.url, getToken, onSignedOut: () => signedOut++ });
  t.after(() => client.connection.close());
  watch(client, listCards, {});
  const first = await server.session();
  await first.next('auth');
  first.send({ type: 'authenticated' });
  const { id } = await first.next('subscribe');
  first.frame([{ id, version: '1', data: 'mine' }]);
  token = 'new';
  await client.query(listCards);
  const refuse = async (session) => {
    assert.equal((await session.next('auth')).token, 'new');
    session.send({ type: 'error', code: 'UNAUTHORIZED', message: 'not this one' });
    session.close(4401);
  };
  await refuse(first);
  await refuse(await server.session());
  assert.equal((await (await server.session()).next('auth')).token, 'forced');
  assert.equal(signedOut, 0);
});
