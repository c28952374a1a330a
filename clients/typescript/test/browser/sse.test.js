import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createForgeClient, mutation, query } from '../../node_modules/.cache/forge-client/client/client.js';
import { events } from '../../node_modules/.cache/forge-client/client/sse.js';
import { status, watch, wire } from '../wire.js';

const listCards = query('list_cards');
const addCard = mutation('add_card');
const a = { columnId: 'a' };
const rows = (...ids) => ids.map((id) => ({ id }));

async function begin(t, { live, ...options } = {}) {
  const server = await wire(t);
  const client = createForgeClient({
    url: server.url,
    live: { transport: 'sse', retryDelay: 20, ...live },
    ...options,
  });
  t.after(() => client.connection.close());
  const cards = watch(client, listCards, a);
  return { server, client, cards };
}

test('everything goes over a stream of events, and messages that are sent together are one request', async (t) => {
  const { server, client, cards } = await begin(t);
  const more = watch(client, listCards, { columnId: 'b' });
  const session = await server.session();
  const [first, second] = [await session.next('subscribe'), await session.next('subscribe')];
  assert.deepEqual([first.args, second.args, session.batches], [a, { columnId: 'b' }, [2]]);
  assert.equal(session.posted['x-forge-csrf'], '1');
  session.frame([{ id: first.id, version: '1', data: rows(1) }]);
  session.frame([{ id: second.id, version: '1', data: rows(2) }]);
  await cards.until((now) => now.data);
  await more.until((now) => now.data);

  const added = client.mutate(addCard, { title: 't' });
  const call = await session.next('call');
  session.done(call, { id: 3 });
  assert.deepEqual(await added, { id: 3 });
  more.stop();
  await session.next('unsubscribe');
  assert.deepEqual([server.upgrades, client.connection.transport], [0, 'sse']);
});

test('a stream that breaks is opened anew, and so is one whose session is not known any more', async (t) => {
  const { server, client, cards } = await begin(t);
  const first = await server.session();
  const { id } = await first.next('subscribe');
  first.frame([{ id, version: '1', data: rows(1) }]);
  await cards.until((now) => now.data);
  first.cut();
  const second = await server.session();
  assert.equal((await second.next('subscribe')).version, '1');

  // Another node has never heard of it.
  second.answer = 404;
  watch(client, listCards, { columnId: 'b' });
  const third = await server.session();
  await second.ended;
  assert.deepEqual(
    [(await third.next('subscribe')).args, (await third.next('subscribe')).args],
    [a, { columnId: 'b' }],
  );
});

test('a token goes with each request, a new one too', async (t) => {
  let token = 'first';
  const { server, client, cards } = await begin(t, { getToken: () => token });
  const session = await server.session();
  assert.equal(session.headers.authorization, 'Bearer first');
  // It is known from the beginning: no first message says so.
  const { id } = await session.next('subscribe');
  session.frame([{ id, version: '1', data: rows(1) }]);
  await cards.until((now) => now.data);
  token = 'second';
  client.mutate(addCard, { title: 't' }).catch(() => {});
  assert.deepEqual(await session.next('auth'), { type: 'auth', token: 'second' });
  assert.equal(session.posted.authorization, 'Bearer second');
});

test('told that the session has ended, it is renewed, and what was read is resumed', async (t) => {
  let token = 'old';
  const forced = [];
  const { server, cards } = await begin(t, {
    getToken: ({ force }) => {
      forced.push(force);
      if (force) token = 'new';
      return token;
    },
  });
  const first = await server.session();
  const { id } = await first.next('subscribe');
  first.frame([{ id, version: '1', data: rows(1) }]);
  await cards.until((now) => now.data);
  first.send({ type: 'error', code: 'UNAUTHORIZED', message: 'ended' });
  first.close(4401);
  const second = await server.session();
  assert.equal(second.headers.authorization, 'Bearer new');
  assert.equal((await second.next('subscribe')).version, '1');
  assert.deepEqual(cards.current.data, rows(1));
  assert.ok(forced.includes(true));
});

test('where no WebSocket gets through, events do, for as long as the client lives', async (t) => {
  const server = await wire(t);
  server.refuse = 'upgrades';
  const client = createForgeClient({ url: server.url, live: { retryDelay: 10 } });
  t.after(() => client.connection.close());
  watch(client, listCards, a);
  const first = await server.session();
  await first.next('subscribe');
  assert.deepEqual([server.upgrades, client.connection.transport], [2, 'sse']);
  // Known by now: not tried again.
  server.refuse = false;
  first.cut();
  await (await server.session()).next('subscribe');
  assert.equal(server.upgrades, 2);
});

test('where WebSockets got through before, it takes longer to believe that they do not', async (t) => {
  const server = await wire(t);
  const client = createForgeClient({ url: server.url, live: { retryDelay: 5, retryDelayMax: 5 } });
  t.after(() => client.connection.close());
  watch(client, listCards, a);
  const first = await server.session();
  await first.next('subscribe');
  server.refuse = 'upgrades';
  first.cut();
  await (await server.session()).next('subscribe');
  assert.deepEqual([server.upgrades, client.connection.transport], [1 + 4, 'sse']);
});

test('a back end that is away is no reason to do without WebSockets', async (t) => {
  const server = await wire(t);
  const tried = [];
  server.refuse = (kind) => tried.push(kind) <= 6;
  const client = createForgeClient({ url: server.url, live: { retryDelay: 5, retryDelayMax: 5 } });
  t.after(() => client.connection.close());
  watch(client, listCards, a);
  await status(client, 'open');
  const round = ['upgrades', 'upgrades', 'events'];
  assert.deepEqual(tried, [...round, ...round, 'upgrades']);
  assert.equal(client.connection.transport, 'websocket');
});

test('asked for nothing but WebSockets, nothing else is tried', async (t) => {
  const server = await wire(t);
  server.refuse = 'upgrades';
  const client = createForgeClient({
    url: server.url,
    live: { transport: 'websocket', retryDelay: 5, retryDelayMax: 5 },
  });
  t.after(() => client.connection.close());
  watch(client, listCards, a);
  while (server.upgrades < 5) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(server.waiting, 0);
});

test('events are read however they are cut into pieces', () => {
  const text = ': a comment\n\ndata: {"a":1}\n\nevent: close\ndata: {"b":\r\ndata:2}\r\n\r\nid: 3\n\ndata: last\n\n';
  for (let size = 1; size <= text.length; size++) {
    const seen = [];
    const take = events((data) => seen.push(data));
    for (let at = 0; at < text.length; at += size) take(text.slice(at, at + size));
    assert.deepEqual(seen, ['{"a":1}', '{"b":\n2}', 'last'], `in pieces of ${size}`);
  }
});
