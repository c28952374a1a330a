// Live queries of a session that cookies hold.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  action,
  createForgeClient,
  createOutbox,
  mutation,
  query,
} from '../../node_modules/.cache/forge-client/client/client.js';
import { fail, ok, rejection, signal } from '../backend.js';
import { watch, wire } from '../wire.js';

const listCards = query('list_cards');
const addCard = mutation('add_card');

/** A page with one live query that has its first result, and its tab's neighbour. */
async function begin(t, { answer, greet } = {}) {
  const channels = new Set();
  const page = globalThis.BroadcastChannel;
  globalThis.BroadcastChannel = class {
    constructor() {
      channels.add(this);
    }
    postMessage() {}
  };
  t.after(() => (globalThis.BroadcastChannel = page));
  const signedOut = [];
  const server = await wire(t, { answer, greet });
  const client = createForgeClient({
    url: server.url,
    cookies: true,
    onSignedOut: (why) => signedOut.push(why.message),
  });
  t.after(() => client.connection.close());
  const cards = watch(client, listCards, {});
  const hear = (news) => [...channels].forEach((channel) => channel.onmessage({ data: news }));
  return { server, client, cards, signedOut, hear };
}

async function first(server, cards, data = 'of ada') {
  const session = await server.session();
  const { id } = await session.next('subscribe');
  session.frame([{ id, version: '1', data }]);
  await cards.until((now) => now.data === data);
  return session;
}

test('a session that ran out is renewed, and what was read is resumed', async (t) => {
  const { server, cards, signedOut } = await begin(t, { answer: () => ok({}) });
  const session = await first(server, cards);
  session.send({ type: 'error', code: 'UNAUTHORIZED', message: 'the session has expired' });
  session.close(4401);
  const again = await (await server.session()).next('subscribe');
  assert.equal(again.version, '1');
  assert.deepEqual(
    server.requests.map(({ name }) => name),
    ['/auth/refresh'],
  );
  assert.deepEqual([cards.current.data, signedOut], ['of ada', []]);
});

test('cookies that are spent when the connection is opened are renewed first, and only once', async (t) => {
  let spent = true;
  const { server, cards } = await begin(t, {
    answer: () => ok({}),
    greet: (session) => {
      if (!spent) return session.hello();
      spent = false;
      session.send({ type: 'error', code: 'UNAUTHORIZED', message: 'the session wants renewal' });
      session.close(4401);
    },
  });
  const refused = await server.session();
  await refused.ended;
  const session = await server.session();
  await session.next('subscribe');
  assert.equal(server.requests.length, 1);
  assert.equal(refused.waiting, 0);
  assert.equal(cards.current.error, undefined);
});

test('a session that cannot be renewed has ended: what was read is gone, and what is public goes on', async (t) => {
  const { server, cards, signedOut } = await begin(t, { answer: () => fail(401, 'UNAUTHORIZED') });
  const session = await first(server, cards);
  session.close(4401);
  const next = await server.session();
  const asked = await next.next('subscribe');
  assert.deepEqual([asked.version, cards.current.data], [undefined, undefined]);
  assert.equal(signedOut.length, 1);
  next.frame([{ id: asked.id, version: '2', data: 'public' }]);
  await cards.until((now) => now.data === 'public');
});

test('signing out, here or in another tab, takes what was read away at once', async (t) => {
  for (const elsewhere of [false, true]) {
    const { server, client, cards, signedOut, hear } = await begin(t, {
      answer: () => ok(null, { 'x-forge-session': 'ended' }),
    });
    const session = await first(server, cards);
    if (elsewhere) hear('ended');
    else {
      const called = client.mutate(mutation('sign_out'));
      const { id } = await session.next('call');
      session.send({ type: 'reply', id, error: { code: 'USE_HTTP', message: 'use HTTP' } });
      await called;
    }
    assert.deepEqual([cards.current.data, cards.current.loading], [undefined, true]);
    assert.equal(signedOut.length, 1);
    await session.ended;
    const next = await server.session();
    const { id } = await next.next('subscribe');
    next.send({ type: 'error', id, code: 'UNAUTHORIZED', message: 'sign in' });
    await cards.until((now) => now.error?.code === 'UNAUTHORIZED');
  }
});

test('the end of a session that shows before signing out is answered renews nothing', async (t) => {
  const asked = signal();
  const leaving = signal();
  const answer = () => (asked.settle(), leaving.promise);
  const { server, client, cards, signedOut } = await begin(t, { answer });
  const session = await first(server, cards);
  const called = client.mutate(mutation('sign_out'));
  const { id } = await session.next('call');
  session.send({ type: 'reply', id, error: { code: 'USE_HTTP', message: 'use HTTP' } });
  await asked.promise;
  session.send({ type: 'error', code: 'UNAUTHORIZED', message: 'the session has ended' });
  session.close(4401);
  await session.ended;
  leaving.settle(ok(null, { 'x-forge-session': 'ended' }));
  await called;
  await (await server.session()).next('subscribe');
  assert.deepEqual(
    server.requests.map(({ name }) => name),
    ['sign_out'],
  );
  assert.equal(signedOut.length, 1);
});

test('signing in, here or in another tab, begins anew; a renewal in another tab changes nothing', async (t) => {
  for (const elsewhere of [false, true]) {
    const { server, client, cards, hear } = await begin(t, {
      answer: () => ok(null, { 'x-forge-session': 'started' }),
    });
    const session = await first(server, cards, 'of nobody');
    hear('renewed');
    assert.equal(cards.current.data, 'of nobody');
    if (elsewhere) hear('started');
    else await client.mutate(mutation('sign_in'), {}, { auth: false });
    assert.equal(cards.current.data, undefined);
    await session.ended;
    await first(server, cards, 'of ada');
  }
});

test('what was under way for one is not done for the next; what was asked is answered', async (t) => {
  for (const news of ['started', 'ended']) {
    const { server, client, cards, hear } = await begin(t, { answer: ({ name }) => ok(name) });
    const session = await first(server, cards);
    const outbox = createOutbox();
    const changes = [client.mutate(addCard, { n: 0 }), client.mutate(addCard, { n: 1 }, { outbox })];
    const read = client.query(query('count_cards'));
    // As many as the back end takes, and two more, which wait.
    for (let n = 2; n < 17; n++) changes.push(client.mutate(addCard, { n }));
    changes.push(client.action(action('import_cards'), {}));
    const given = changes.map(rejection);
    for (let n = 0; n < 16; n++) await session.next('call');
    hear(news);
    const codes = (await Promise.all(given)).map(({ code }) => code);
    assert.deepEqual([codes.length, new Set(codes)], [18, new Set(['CANCELLED'])]);
    // Asked anew as whoever it is now, and it is all that is sent again.
    const next = await server.session();
    await next.next('subscribe');
    const again = await next.next('call');
    assert.equal(again.function, 'count_cards');
    next.send({ type: 'reply', id: again.id, data: 3 });
    assert.equal(await read, 3);
    assert.deepEqual([next.waiting, server.requests], [0, []]);
  }
});

test('signing in is not given up when somebody signs in elsewhere', async (t) => {
  const asked = signal();
  let tries = 0;
  const { server, client, cards, hear } = await begin(t, {
    answer: () => {
      asked.settle();
      return ++tries === 1 ? fail(503, 'DATABASE_UNAVAILABLE') : ok('in', { 'x-forge-session': 'started' });
    },
  });
  const session = await first(server, cards);
  const called = client.mutate(mutation('sign_in'), {});
  const { id } = await session.next('call');
  session.send({ type: 'reply', id, error: { code: 'USE_HTTP', message: 'use HTTP' } });
  await asked.promise;
  server.refuse = true;
  hear('started');
  assert.equal(await called, 'in');
});
