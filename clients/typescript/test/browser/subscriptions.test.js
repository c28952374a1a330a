import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createForgeClient, query } from '../../node_modules/.cache/forge-client/client/client.js';
import { status, watch, wire } from '../wire.js';

const listCards = query('list_cards');
const countCards = query('count_cards');

const a = { columnId: 'a' };
const rows = (...ids) => ids.map((id) => ({ id }));

/** A client, and the session of its first subscription. */
async function begin(t, live = {}) {
  const server = await wire(t);
  const client = createForgeClient({ url: server.url, live });
  t.after(() => client.connection.close());
  const cards = watch(client, listCards, a);
  const session = await server.session();
  const { id } = await session.next('subscribe');
  return { server, client, cards, session, id };
}

test('nothing is opened before the first subscription, and it is closed after the last', async (t) => {
  const server = await wire(t);
  const client = createForgeClient({ url: server.url, live: { linger: 30 } });
  const statuses = [];
  client.connection.onChange((now) => statuses.push(now));
  assert.equal(client.connection.status, 'closed');
  await new Promise(setImmediate);
  assert.equal(server.waiting, 0);

  const cards = watch(client, listCards, a);
  assert.deepEqual([cards.current.loading, cards.current.data, cards.seen], [true, undefined, []]);
  const session = await server.session();
  const asked = await session.next('subscribe');
  assert.deepEqual(asked, { type: 'subscribe', id: asked.id, function: 'list_cards', args: a });
  session.frame([{ id: asked.id, version: '1', data: rows(1) }]);
  const now = await cards.until((now) => now.data);
  assert.deepEqual(now.data, rows(1));
  assert.deepEqual([now.loading, now.error, now.stale], [false, undefined, false]);
  assert.ok(now.updatedAt instanceof Date);

  cards.stop();
  assert.deepEqual(await session.next('unsubscribe'), { type: 'unsubscribe', id: asked.id });
  await session.ended;
  assert.deepEqual(statuses, ['connecting', 'open', 'closed']);
});

test('equal queries share one subscription, and who comes later has the copy at once', async (t) => {
  const { server, client, cards, session, id } = await begin(t);
  session.frame([{ id, version: '1', data: rows(1) }]);
  await cards.until((now) => now.data);
  const later = watch(client, listCards, { columnId: 'a', gone: undefined });
  assert.deepEqual(later.data, [rows(1)]);
  assert.equal(later.current, cards.current);
  const both = watch(client, countCards, { b: { x: 1, y: [2] }, a: null });
  const same = watch(client, countCards, { a: null, b: { y: [2], x: 1 } });
  const { id: count } = await session.next('subscribe');
  session.frame([{ id: count, version: '1', data: 1 }]);
  await both.until((now) => now.data === 1);
  assert.equal(same.current.data, 1);
  cards.stop();
  later.stop();
  assert.equal((await session.next('unsubscribe')).id, id);
  assert.deepEqual([session.waiting, server.waiting], [0, 0]);
});

test('a reader that is replaced by another keeps the subscription', async (t) => {
  const { client, cards, session, id } = await begin(t);
  session.frame([{ id, version: '1', data: rows(1) }]);
  await cards.until((now) => now.data);
  cards.stop();
  const next = watch(client, listCards, a);
  assert.deepEqual(next.data, [rows(1)]);
  next.stop();
  // Had it been asked again, that would have come before.
  assert.equal((await session.next('unsubscribe')).id, id);
});

test('a frame is applied whole before anybody is told, and everybody is told once', async (t) => {
  const { client, cards, session, id } = await begin(t);
  const count = watch(client, countCards, a);
  const { id: countId } = await session.next('subscribe');
  const pairs = [];
  const look = () => pairs.push([cards.current.data?.length, count.current.data]);
  client.subscribe(listCards, a, look);
  client.subscribe(countCards, a, look);
  session.frame([
    { id, version: '1', data: rows(1, 2) },
    { id: countId, version: '1', data: 2 },
  ]);
  await cards.until((now) => now.data);
  session.frame([
    { id: countId, version: '2', data: 3 },
    [id, '2', ['i', 2, { id: 3 }]],
  ]);
  await cards.until((now) => now.data.length === 3);
  assert.deepEqual(pairs, [
    [2, 2],
    [2, 2],
    [3, 3],
    [3, 3],
  ]);
  assert.equal(cards.seen.length, 2);
  // The rows that did not change are the very same.
  assert.equal(cards.data[1][0], cards.data[0][0]);
});

test('a frame that comes twice is told once; one that does not fit makes the query be asked anew', async (t) => {
  const { client, cards, session, id } = await begin(t);
  const count = watch(client, countCards, a);
  const { id: countId } = await session.next('subscribe');
  session.frame([
    { id, version: '1', data: rows(1) },
    { id: countId, version: '1', data: 1 },
  ]);
  await cards.until((now) => now.data);
  const second = [id, '2', ['i', 1, { id: 2 }]];
  session.frame([second]);
  session.frame([second]);
  await cards.until((now) => now.data.length === 2);

  // A change of something that the copy does not have: one before it was lost.
  session.frame([
    [id, '4', 2, 'id', 9],
    { id: countId, version: '2', data: 2 },
  ]);
  assert.deepEqual(await session.next('unsubscribe'), { type: 'unsubscribe', id });
  const again = await session.next('subscribe');
  assert.deepEqual([again.version, again.function], [undefined, 'list_cards']);
  assert.notEqual(again.id, id);
  assert.deepEqual([cards.current.data, cards.current.stale], [rows(1, 2), true]);
  assert.equal(count.current.data, 2);
  // What was sent for the old number is not for the new one.
  session.frame([[id, '3', 'late']]);
  session.frame([{ id: again.id, version: '4', data: rows(2) }]);
  await cards.until((now) => !now.stale);
  assert.deepEqual(cards.data, [rows(1), rows(1, 2), rows(1, 2), rows(2)]);
});

test('a change that cannot be applied makes the query be asked anew', async (t) => {
  const { cards, session, id } = await begin(t);
  session.frame([{ id, version: '1', data: rows(1) }]);
  session.frame([[id, '2', ['d', 7]]]);
  await session.next('unsubscribe');
  const again = await session.next('subscribe');
  session.frame([{ id: again.id, version: '2', data: rows() }]);
  await cards.until((now) => now.data?.length === 0);
});

test('a subscription that fails says why; a retryable failure keeps what is there', async (t) => {
  const { client, cards, session, id } = await begin(t);
  session.frame([{ id, version: '1', data: rows(1) }]);
  session.send({
    type: 'error',
    id,
    code: 'DATABASE_UNAVAILABLE',
    message: 'away',
    retryable: true,
  });
  const failed = await cards.until((now) => now.error);
  assert.deepEqual([failed.error.code, failed.data, failed.stale], ['DATABASE_UNAVAILABLE', rows(1), true]);
  session.frame([{ id, version: '1', current: true }]);
  const well = await cards.until((now) => !now.error);
  assert.deepEqual([well.data, well.stale], [rows(1), false]);

  session.send({ type: 'error', id, code: 'COLUMN_GONE', message: 'it is gone', details: { n: 1 } });
  const over = await cards.until((now) => now.error);
  assert.deepEqual([over.error.name, over.error.details, over.data], ['ForgeError', { n: 1 }, rows(1)]);
  // Whoever comes later makes it be tried again.
  const later = watch(client, listCards, a);
  assert.equal(later.current.error.code, 'COLUMN_GONE');
  const again = await session.next('subscribe');
  assert.equal(again.version, '1');
  // What may not be seen any more is not shown any more.
  session.send({ type: 'error', id: again.id, code: 'FORBIDDEN', message: 'no' });
  const forbidden = await later.until((now) => now.error?.code === 'FORBIDDEN');
  assert.deepEqual([forbidden.data, forbidden.loading], [undefined, false]);
});

test('a reader that throws, stops or subscribes while it is told disturbs nobody', async (t) => {
  const { client, cards, session, id } = await begin(t);
  const thrown = [];
  globalThis.reportError = (error) => thrown.push(error.message);
  t.after(() => delete globalThis.reportError);
  client.subscribe(listCards, a, () => {
    throw new Error('mine');
  });
  let inner;
  const outer = client.subscribe(listCards, a, () => {
    outer.stop();
    inner ??= watch(client, listCards, a);
  });
  const last = watch(client, listCards, a);
  session.frame([{ id, version: '1', data: rows(1) }]);
  await last.until((now) => now.data);
  session.frame([{ id, version: '2', data: rows(2) }]);
  await last.until((now) => now.data[0].id === 2);
  assert.deepEqual(inner.data, [rows(1), rows(2)]);
  assert.deepEqual(cards.data, [rows(1), rows(2)]);
  assert.deepEqual(thrown, ['mine', 'mine']);
});

test('messages of a later version are passed over', async (t) => {
  const { cards, session, id } = await begin(t);
  session.send({ type: 'job', id: 3 });
  session.send({ type: 'frame', position: 'p' });
  session.frame([null, 5, { id: 99, version: '1', data: 1 }]);
  session.send({ type: 'reply', id: 77, data: 1 });
  session.send({ type: 'error', id: 77, code: 'X', message: 'x' });
  session.frame([{ id, version: '1', data: rows(1) }]);
  await cards.until((now) => now.data);
});

test('without a WebSocket there is an error that says what to do', async () => {
  const client = createForgeClient({
    url: 'http://127.0.0.1:9',
    live: {
      WebSocket: class {
        constructor() {
          throw new Error('none to be had');
        }
      },
    },
  });
  const cards = watch(client, listCards, a);
  const { error } = await cards.until((now) => now.error);
  assert.equal(error.code, 'CLIENT_ERROR');
  assert.match(error.message, /none to be had/);
  assert.equal(client.connection.status, 'closed');
  const pageless = createForgeClient();
  const { error: other } = await watch(pageless, listCards, a).until((now) => now.error);
  assert.match(other.message, /live queries cannot be asked: .*URL/);
});

test('arguments are asked for as they were, and refused when JSON cannot say them', async (t) => {
  const server = await wire(t);
  const client = createForgeClient({ url: server.url });
  t.after(() => client.connection.close());
  assert.throws(() => watch(client, listCards, { n: 1n }), { name: 'ForgeError', code: 'INVALID_ARGUMENT' });
  const args = { columnId: 'a' };
  watch(client, listCards, args);
  args.columnId = 'b';
  assert.deepEqual((await (await server.session()).next('subscribe')).args, { columnId: 'a' });
});

test('closing ends everything, and a later subscription opens again', async (t) => {
  const { server, client, cards, session } = await begin(t);
  client.connection.close();
  await session.ended;
  assert.equal(client.connection.status, 'closed');
  assert.equal(cards.seen.length, 0);
  watch(client, listCards, a);
  await status(client, 'open');
  await (await server.session()).next('subscribe');
});
