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
const moveCard = mutation('move_card');
const a = { columnId: 'a' };
const rows = (...ids) => ids.map((id) => ({ id }));

async function begin(t, options = {}) {
  const server = await wire(t, options);
  const client = createForgeClient({ url: server.url, live: { retryDelay: 20 }, retries: 0, ...options.client });
  t.after(() => client.connection.close());
  const cards = watch(client, listCards, a);
  const session = await server.session();
  const { id } = await session.next('subscribe');
  session.frame([{ id, version: '1', data: rows(1) }]);
  await cards.until((now) => now.data);
  const outbox = createOutbox();
  const sizes = [];
  outbox.onChange(() => sizes.push(outbox.size));
  const move = (to) =>
    client.mutate(moveCard, { to }, { outbox, optimistic: (q) => q(listCards, a).append({ id: to }) });
  return { server, client, cards, session, id, outbox, sizes, move };
}

test('calls are sent one after the other, whatever becomes of the one before', async (t) => {
  const { session, cards, move, sizes, outbox } = await begin(t);
  const [first, second, third] = [move(2), move(3), move(4)];
  // All of it shows at once.
  assert.deepEqual(cards.current.data, rows(1, 2, 3, 4));
  const one = await session.next('call');
  await new Promise(setImmediate);
  assert.deepEqual([one.args, session.waiting, outbox.size], [{ to: 2 }, 0, 3]);
  session.done(one, 'moved');
  assert.equal(await first, 'moved');
  const two = await session.next('call');
  session.send({ type: 'reply', id: two.id, error: { code: 'COLUMN_FULL', message: 'full', status: 409 } });
  assert.equal((await rejection(second)).code, 'COLUMN_FULL');
  const three = await session.next('call');
  assert.deepEqual(three.args, { to: 4 });
  session.done(three, 'moved');
  await third;
  assert.deepEqual(sizes, [1, 2, 3, 2, 1, 0]);
});

test('what cannot be sent waits, shows all the while, and is sent in order, each with the id it began with', async (t) => {
  const { server, client, session, cards, move } = await begin(t);
  const first = move(2);
  const sent = await session.next('call');
  server.refuse = true;
  session.cut();
  await status(client, 'offline');
  const second = move(3);
  assert.deepEqual([cards.current.data, cards.current.stale], [rows(1, 2, 3), true]);

  server.refuse = false;
  const again = await server.session();
  const resumed = await again.next('subscribe');
  const repeated = await again.next('call');
  assert.deepEqual([repeated.args, repeated.mutationId], [sent.args, sent.mutationId]);
  // It had been done before the connection broke: nothing shows twice.
  again.frame([{ id: resumed.id, version: '2', data: rows(1, 2) }]);
  again.send({ type: 'reply', id: repeated.id, data: 'moved' });
  again.frame([{ id: resumed.id, version: '2', current: true }], [sent.mutationId]);
  await first;
  const next = await again.next('call');
  assert.notEqual(next.mutationId, sent.mutationId);
  again.frame([{ id: resumed.id, version: '3', data: rows(1, 2, 3) }], [next.mutationId]);
  again.send({ type: 'reply', id: next.id, data: 'moved' });
  await second;
  for (const data of cards.data) assert.ok(new Set(data.map(({ id }) => id)).size === data.length, JSON.stringify(data));
  assert.deepEqual(cards.current.data, rows(1, 2, 3));
});

test('what the back end refuses by then is taken back', async (t) => {
  const { server, client, session, cards, move } = await begin(t);
  server.refuse = true;
  session.cut();
  await status(client, 'offline');
  const moved = move(2);
  assert.deepEqual(cards.current.data, rows(1, 2));
  server.refuse = false;
  const again = await server.session();
  const resumed = await again.next('subscribe');
  again.frame([{ id: resumed.id, version: '1', current: true }]);
  const call = await again.next('call');
  again.send({ type: 'reply', id: call.id, error: { code: 'NOT_FOUND', message: 'gone', status: 404 } });
  assert.equal((await rejection(moved)).code, 'NOT_FOUND');
  assert.deepEqual(cards.current.data, rows(1));
});

test('without a connection, calls go over HTTP and wait just the same', async (t) => {
  const ids = [];
  const server = await wire(t, {
    answer: ({ headers }) => {
      ids.push(headers['x-forge-mutation-id']);
      return ids.length < 3 ? fail(503, 'DATABASE_UNAVAILABLE') : ok('moved');
    },
  });
  const client = createForgeClient({ url: server.url, retries: 0 });
  const outbox = createOutbox();
  assert.equal(await client.mutate(moveCard, { to: 1 }, { outbox }), 'moved');
  assert.equal(new Set(ids).size, 1);
});

test('what waits for somebody is not done as somebody else', async (t) => {
  const { server, client, session, move, outbox } = await begin(t);
  server.refuse = true;
  session.cut();
  await status(client, 'offline');
  const [first, second] = [move(2), move(3)];
  client.connection.restart();
  const codes = [(await rejection(first)).code, (await rejection(second)).code];
  assert.deepEqual([codes, outbox.size], [['CANCELLED', 'CANCELLED'], 0]);
});

test('a caller can give up a call that waits', async (t) => {
  const { server, client, session, outbox } = await begin(t);
  server.refuse = true;
  session.cut();
  await status(client, 'offline');
  const controller = new AbortController();
  const call = client.mutate(moveCard, { to: 1 }, { outbox, signal: controller.signal });
  await new Promise(setImmediate);
  controller.abort();
  assert.equal((await rejection(call)).code, 'CANCELLED');
});

test('one that waits for its turn can be given up as well, and its successor still waits for those before', async (t) => {
  const { session, cards, outbox, move, client } = await begin(t);
  const first = move(2);
  const sent = await session.next('call');
  const controller = new AbortController();
  const over = {
    outbox,
    signal: controller.signal,
    optimistic: (q) => q(listCards, a).append({ id: 3 }),
  };
  const second = rejection(client.mutate(moveCard, { to: 3 }, over));
  const third = move(4);
  assert.deepEqual(cards.current.data, rows(1, 2, 3, 4));
  controller.abort();
  assert.equal((await second).code, 'CANCELLED');
  assert.deepEqual([cards.current.data, outbox.size, session.waiting], [rows(1, 2, 4), 2, 0]);
  session.done(sent, 'moved');
  assert.equal(await first, 'moved');
  const next = await session.next('call');
  assert.deepEqual(next.args, { to: 4 });
  session.done(next, 'moved');
  await third;
});

test('an action cannot wait: it could be done twice', async (t) => {
  const { client, outbox } = await begin(t);
  const error = await rejection(client.action(action('import'), {}, { outbox }));
  assert.equal(error.code, 'CLIENT_ERROR');
});
