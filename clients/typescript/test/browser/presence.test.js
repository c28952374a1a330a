import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createForgeClient, query } from '../../node_modules/.cache/forge-client/client/client.js';
import { watch, wire } from '../wire.js';

const getBoard = query('get_board');
const args = { boardId: 'b' };
const member = (id, state = {}) => ({ id, userId: `user ${id}`, state, since: '2026-01-01T00:00:00Z' });

async function begin(t) {
  const server = await wire(t);
  const client = createForgeClient({ url: server.url, live: { retryDelay: 20 } });
  t.after(() => client.connection.close());
  return { server, client };
}

test('one is present at a subscription, says something else, and leaves', async (t) => {
  const { server, client } = await begin(t);
  const board = watch(client, getBoard, args);
  const seen = [];
  const presence = client.presence(getBoard, args, { card: 1 }, (now) => seen.push(now.data));
  const session = await server.session();
  const asked = await session.next('subscribe');
  const here = await session.next('presence');
  assert.deepEqual(here, { type: 'presence', id: here.id, of: asked.id, state: { card: 1 } });
  session.frame([
    { id: asked.id, version: 'x', data: {} },
    { id: here.id, version: '1', data: [member(1), member(2)] },
  ]);
  await board.until((now) => now.data);
  assert.deepEqual(seen.at(-1), [member(1), member(2)]);
  session.frame([[here.id, '2', ['d', 0]]]);

  presence.set({ card: 1 });
  presence.set({ card: 2 });
  assert.deepEqual(await session.next('presence'), { ...here, state: { card: 2 } });
  assert.deepEqual(presence.current.data, [member(2)]);
  presence.set(null);
  assert.equal((await session.next('presence')).state, null);
  presence.stop();
  assert.deepEqual(await session.next('unsubscribe'), { type: 'unsubscribe', id: here.id });
  board.stop();
  assert.deepEqual(await session.next('unsubscribe'), { type: 'unsubscribe', id: asked.id });
});

test('a presence needs no other subscription, and takes its own along', async (t) => {
  const { server, client } = await begin(t);
  const presence = client.presence(getBoard, args, 'here', () => {});
  const session = await server.session();
  const [asked, here] = [await session.next('subscribe'), await session.next('presence')];
  assert.equal(here.of, asked.id);
  presence.stop();
  const left = [await session.next('unsubscribe'), await session.next('unsubscribe')];
  assert.deepEqual(left.map(({ id }) => id), [here.id, asked.id]);
});

test('after an interruption one is present again, with what one says by then', async (t) => {
  const { server, client } = await begin(t);
  const presence = client.presence(getBoard, args, 1, () => {});
  const first = await server.session();
  const [asked, here] = [await first.next('subscribe'), await first.next('presence')];
  first.frame([
    { id: asked.id, version: 'x', data: {} },
    { id: here.id, version: '1', data: [member(1)] },
  ]);
  first.cut();
  presence.set(2);
  const second = await server.session();
  const again = await second.next('subscribe');
  assert.equal(again.version, 'x');
  const back = await second.next('presence');
  assert.deepEqual(back, { type: 'presence', id: back.id, of: again.id, state: 2 });
  assert.deepEqual([presence.current.data, presence.current.stale], [[member(1)], true]);
  second.frame([
    { id: again.id, version: 'x', current: true },
    { id: back.id, version: '2', data: [member(3)] },
  ]);
  while (presence.current.stale) await new Promise(setImmediate);
  assert.deepEqual(presence.current.data, [member(3)]);
});

test('when the query has to be asked anew, one is present at the new subscription', async (t) => {
  const { server, client } = await begin(t);
  client.presence(getBoard, args, 1, () => {});
  const session = await server.session();
  const [asked, here] = [await session.next('subscribe'), await session.next('presence')];
  // A delta for a copy that is not there.
  session.frame([[asked.id, '2', 1]]);
  await session.next('unsubscribe');
  const again = await session.next('subscribe');
  assert.equal((await session.next('unsubscribe')).id, here.id);
  assert.equal((await session.next('presence')).of, again.id);
});

test('who may not be there any more sees nobody', async (t) => {
  const { server, client } = await begin(t);
  const presence = client.presence(getBoard, args, 1, () => {});
  const board = watch(client, getBoard, args);
  const session = await server.session();
  const [asked, here] = [await session.next('subscribe'), await session.next('presence')];
  session.frame([
    { id: asked.id, version: 'x', data: {} },
    { id: here.id, version: '1', data: [member(1)] },
  ]);
  await board.until((now) => now.data);
  // The app's own code: what counts is the status.
  const error = { type: 'error', code: 'NOT_A_MEMBER', message: 'no member', status: 403 };
  session.send({ ...error, id: asked.id });
  session.send({ ...error, id: here.id });
  const now = await board.until((now) => now.error);
  assert.deepEqual([now.data, now.error.code, now.error.status], [undefined, 'NOT_A_MEMBER', 403]);
  while (!presence.current.error) await new Promise(setImmediate);
  assert.equal(presence.current.data, undefined);
  assert.equal((await session.next('unsubscribe')).id, here.id);
  // Let in again: asked once more, both.
  presence.retry();
  assert.deepEqual([(await session.next('subscribe')).args, (await session.next('presence')).state], [args, 1]);
});

test('events reach whoever listens to that query, after the result of the same moment', async (t) => {
  const { server, client } = await begin(t);
  const order = [];
  client.subscribe(getBoard, args, ({ data }) => order.push(data));
  const stop = client.on(getBoard, args, (event) => order.push(event));
  client.on(getBoard, { boardId: 'other' }, () => assert.fail('not meant for this one'));
  const session = await server.session();
  const [asked] = [await session.next('subscribe'), await session.next('subscribe')];
  session.frame([{ id: asked.id, version: '1', data: 'after the move' }]);
  session.send({ type: 'event', id: asked.id, name: 'moved', data: { card: 1 } });
  session.send({ type: 'event', id: asked.id, name: 'moved', data: { card: 2 }, missed: 3 });
  session.send({ type: 'event', id: 9999, name: 'moved', data: {} });
  while (order.length < 3) await new Promise(setImmediate);
  assert.deepEqual(order, [
    'after the move',
    { name: 'moved', data: { card: 1 }, missed: 0 },
    { name: 'moved', data: { card: 2 }, missed: 3 },
  ]);
  stop();
  session.send({ type: 'event', id: asked.id, name: 'moved', data: { card: 4 } });
  session.frame([{ id: asked.id, version: '2', data: 'later' }]);
  while (order.at(-1) !== 'later') await new Promise(setImmediate);
  assert.equal(order.length, 4);
});

test('of many states in a row, the last one is told', async (t) => {
  const { server, client } = await begin(t);
  const presence = client.presence(getBoard, args, 0, () => {});
  const session = await server.session();
  await session.next('subscribe');
  await session.next('presence');
  for (let n = 1; n <= 50; n++) {
    presence.set(n);
    await new Promise(setImmediate);
  }
  let told = 0;
  for (let state; state !== 50; told++) state = (await session.next('presence')).state;
  assert.ok(told <= 10, `${told} of 50 were told`);
});

test('what was asked too often is asked again when it may be', async (t) => {
  const { server, client } = await begin(t);
  const board = watch(client, getBoard, args);
  const session = await server.session();
  const { id } = await session.next('subscribe');
  session.send({ type: 'error', id, code: 'RATE_LIMITED', message: 'slower', retryAfter: 0.01 });
  await board.until((now) => now.error);
  const again = await session.next('subscribe');
  session.frame([{ id: again.id, version: '1', data: {} }]);
  assert.equal((await board.until((now) => now.data)).error, undefined);
});
