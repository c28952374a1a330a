import assert from 'node:assert/strict';
import { test } from 'node:test';
import { flushSync } from 'svelte';

import {
  createForgeClient,
  createOutbox,
  mutation,
  query,
} from '../../node_modules/.cache/forge-client/client/client.js';
import {
  cell,
  inComponent,
  proxied,
  until,
} from '../../node_modules/.cache/forge-client/client/reactive.svelte.js';
import { call, connection, live, present } from '../../node_modules/.cache/forge-client/client/svelte.svelte.js';
import { wire } from '../wire.js';

const listCards = query('list_cards');
const countCards = query('count_cards');
const addCard = mutation('add_card');

/** A client, and the value that `make` gives, made in a component. */
async function begin(t, make) {
  const server = await wire(t);
  const client = createForgeClient({ url: server.url, live: { linger: 10, retryDelay: 60_000 } });
  t.after(() => client.connection.close());
  let made;
  const close = inComponent((effect) => (made = make({ client }, effect)));
  t.after(close);
  return { server, client, made, close };
}

test('a live query shows its result, and each that follows', async (t) => {
  const { server, made: cards } = await begin(t, (use) => live(listCards, () => ({}), use));
  assert.deepEqual(
    [cards.data, cards.loading, cards.error, cards.stale, cards.status, cards.updatedAt],
    [undefined, true, undefined, false, 'connecting', undefined],
  );
  const session = await server.session();
  const { id } = await session.next('subscribe');
  session.frame([{ id, version: '1', data: [1] }]);
  await until(() => cards.data);
  assert.deepEqual([cards.data, cards.loading, cards.status], [[1], false, 'open']);
  assert.ok(cards.updatedAt instanceof Date);
  session.frame([[id, '2', ['i', 1, 2]]]);
  await until(() => cards.data.length === 2);
  server.refuse = true;
  session.cut();
  await until(() => cards.stale && cards.status === 'offline');
  assert.deepEqual(cards.data, [1, 2]);
});

test('when its arguments change, what is there stays until the new result arrives', async (t) => {
  const column = cell('a');
  const { server, made: cards } = await begin(t, (use) =>
    live(listCards, () => ({ columnId: column.value }), use),
  );
  const session = await server.session();
  const first = await session.next('subscribe');
  session.frame([{ id: first.id, version: '1', data: 'cards of a' }]);
  await until(() => cards.data);
  column.value = 'b';
  flushSync();
  assert.deepEqual([cards.data, cards.loading], ['cards of a', true]);
  const second = await session.next('subscribe');
  assert.deepEqual(second.args, { columnId: 'b' });
  assert.equal((await session.next('unsubscribe')).id, first.id);
  session.frame([{ id: first.id, version: '2', data: 'late' }]);
  session.frame([{ id: second.id, version: '1', data: 'cards of b' }]);
  await until(() => !cards.loading);
  assert.equal(cards.data, 'cards of b');
  // Equal arguments are no change.
  column.value = 'b';
  flushSync();
  column.value = 'c';
  flushSync();
  const third = await session.next('subscribe');
  session.send({ type: 'error', id: third.id, code: 'NOT_FOUND', message: 'no such column' });
  await until(() => cards.error);
  assert.deepEqual([cards.data, cards.loading, cards.error.code], [undefined, false, 'NOT_FOUND']);
});

test('without arguments nothing is subscribed to', async (t) => {
  const args = cell(null);
  const { server, client, made: card } = await begin(t, (use) =>
    live(listCards, () => args.value, use),
  );
  assert.deepEqual([card.loading, client.connection.status], [false, 'closed']);
  args.value = { id: 1 };
  flushSync();
  assert.equal(card.loading, true);
  const session = await server.session();
  const { id } = await session.next('subscribe');
  session.frame([{ id, version: '1', data: 'one' }]);
  await until(() => card.data === 'one');
  args.value = undefined;
  flushSync();
  assert.deepEqual([card.data, card.loading], [undefined, false]);
  await session.next('unsubscribe');
  await session.ended;
});

test('it ends with its component, and one that is made elsewhere when it is stopped', async (t) => {
  const { server, client, made: cards, close } = await begin(t, (use) =>
    live(listCards, () => ({}), use),
  );
  const session = await server.session();
  const { id } = await session.next('subscribe');
  const elsewhere = live(countCards, () => ({}), { client });
  const other = await session.next('subscribe');
  session.frame([
    { id, version: '1', data: 'cards' },
    { id: other.id, version: '1', data: 3 },
  ]);
  await until(() => elsewhere.data === 3);
  close();
  assert.equal((await session.next('unsubscribe')).id, id);
  assert.equal(cards.data, 'cards');
  elsewhere.stop();
  elsewhere.stop();
  assert.equal((await session.next('unsubscribe')).id, other.id);
  assert.deepEqual([elsewhere.data, elsewhere.loading], [3, false]);
  await session.ended;
});

test('one that a component stops stays stopped, whatever becomes of its arguments', async (t) => {
  const column = cell('a');
  const { server, made: cards } = await begin(t, (use) =>
    live(listCards, () => ({ columnId: column.value }), use),
  );
  const session = await server.session();
  await session.next('subscribe');
  cards.stop();
  column.value = 'b';
  flushSync();
  await session.next('unsubscribe');
  assert.deepEqual([cards.loading, session.waiting], [false, 0]);
});

test('effects never see one half of a frame', async (t) => {
  const pairs = [];
  const { server } = await begin(t, (use, effect) => {
    const cards = live(listCards, () => ({}), use);
    const count = live(countCards, () => ({}), use);
    effect(() => void pairs.push([cards.data?.length, count.data]));
    return cards;
  });
  const session = await server.session();
  const ids = [(await session.next('subscribe')).id, (await session.next('subscribe')).id];
  let version = 0;
  for (const rows of [[1], [1, 2], [1, 2, 3]]) {
    version += 1;
    session.frame([
      { id: ids[0], version: `${version}`, data: rows },
      { id: ids[1], version: `${version}`, data: rows.length },
    ]);
    const before = pairs.length;
    while (pairs.length === before) await new Promise(setImmediate);
  }
  assert.deepEqual(pairs, [
    [undefined, undefined],
    [1, 1],
    [2, 2],
    [3, 3],
  ]);
});

test('what was read is gone when somebody else is signed in, also while it stands in for other arguments', async (t) => {
  const column = cell('a');
  const { server, client, made: cards } = await begin(t, (use) =>
    live(listCards, () => ({ columnId: column.value }), use),
  );
  const session = await server.session();
  const { id } = await session.next('subscribe');
  session.frame([{ id, version: '1', data: 'secret' }]);
  await until(() => cards.data);
  column.value = 'b';
  flushSync();
  assert.equal(cards.data, 'secret');
  client.connection.restart();
  assert.deepEqual([cards.data, cards.loading], [undefined, true]);
});

test('a call shows what it will do, in the list that a live query shows', async (t) => {
  const seen = [];
  const { server, made } = await begin(t, (use, effect) => {
    const cards = live(listCards, () => ({ columnId: 'a' }), use);
    const add = call(addCard, {
      ...use,
      optimistic: (q, { columnId, title }) => q(listCards, { columnId }).append(title),
    });
    effect(() => void seen.push(JSON.stringify(cards.data)));
    return { cards, add };
  });
  const session = await server.session();
  const { id } = await session.next('subscribe');
  session.frame([{ id, version: '1', data: ['one'] }]);
  await until(() => made.cards.data);
  const added = made.add({ columnId: 'a', title: 'two' });
  assert.deepEqual([made.cards.data, made.add.pending], [['one', 'two'], true]);
  const sent = await session.next('call');
  session.send({ type: 'reply', id: sent.id, data: 7 });
  session.frame([[id, '2', ['i', 1, 'TWO']]], [sent.mutationId]);
  assert.equal(await added, 7);
  assert.equal(made.cards.data[1], 'TWO');
  flushSync();
  assert.deepEqual(seen, [undefined, '["one"]', '["one","two"]', '["one","TWO"]']);
  const refused = made.add({ columnId: 'a', title: 'three' });
  const second = await session.next('call');
  assert.equal(made.cards.data.length, 3);
  session.send({ type: 'reply', id: second.id, error: { code: 'COLUMN_FULL', message: 'full' } });
  await refused.catch(() => {});
  assert.deepEqual([made.cards.data, made.add.error.code], [['one', 'TWO'], 'COLUMN_FULL']);
});

test('a query that failed can be asked again', async (t) => {
  const { server, made: cards } = await begin(t, (use) => live(listCards, () => ({}), use));
  const session = await server.session();
  const { id } = await session.next('subscribe');
  session.send({ type: 'error', id, code: 'NOT_A_MEMBER', message: 'no member', status: 403 });
  await until(() => cards.error);
  cards.retry();
  const again = await session.next('subscribe');
  session.frame([{ id: again.id, version: '1', data: [1] }]);
  await until(() => cards.data);
  assert.equal(cards.error, undefined);
  // Nothing to ask again.
  cards.retry();
  await new Promise(setImmediate);
  assert.equal(session.waiting, 0);
});

test('events of a live query are told, until its arguments change', async (t) => {
  const column = cell('a');
  const told = [];
  const { server } = await begin(t, (use) =>
    live(listCards, () => ({ columnId: column.value }), { ...use, onEvent: ({ data }) => told.push(data) }),
  );
  const session = await server.session();
  const first = await session.next('subscribe');
  session.send({ type: 'event', id: first.id, name: 'moved', data: 1 });
  while (told.length === 0) await new Promise(setImmediate);
  column.value = 'b';
  const second = await session.next('subscribe');
  await session.next('unsubscribe');
  session.send({ type: 'event', id: first.id, name: 'moved', data: 2 });
  session.send({ type: 'event', id: second.id, name: 'moved', data: 3 });
  while (told.length === 1) await new Promise(setImmediate);
  assert.deepEqual(told, [1, 3]);
});

test('presence follows arguments and what one says, and ends with its component', async (t) => {
  const [board, state] = [cell('b'), cell({ card: 1 })];
  const { server, made: here, close } = await begin(t, (use) =>
    present(
      query('get_board'),
      () => (board.value === undefined ? undefined : { boardId: board.value }),
      () => state.value,
      use,
    ),
  );
  assert.deepEqual([here.members, here.stale], [[], false]);
  const session = await server.session();
  const asked = await session.next('subscribe');
  const first = await session.next('presence');
  assert.deepEqual([first.of, first.state], [asked.id, { card: 1 }]);
  const ada = { id: '1', userId: 'ada', state: { card: 1 }, since: '2026-01-01T00:00:00Z' };
  session.frame([{ id: first.id, version: '1', data: [ada] }]);
  await until(() => here.members.length === 1);
  assert.deepEqual(here.members, [ada]);

  state.value = { card: 2 };
  flushSync();
  assert.deepEqual(await session.next('presence'), { ...first, state: { card: 2 } });
  board.value = 'c';
  flushSync();
  assert.deepEqual(here.members, []);
  assert.equal((await session.next('subscribe')).args.boardId, 'c');
  assert.equal((await session.next('presence')).state.card, 2);
  const left = [(await session.next('unsubscribe')).id, (await session.next('unsubscribe')).id];
  assert.deepEqual(left.sort(), [asked.id, first.id].sort());
  board.value = undefined;
  flushSync();
  await session.next('unsubscribe');
  await session.next('unsubscribe');
  close();
});

test('a state that is changed in place is told', async (t) => {
  const cursor = proxied({ x: 0, y: 0 });
  const { server, close } = await begin(t, (use) => present(query('get_board'), () => ({}), () => cursor, use));
  const session = await server.session();
  await session.next('subscribe');
  assert.deepEqual((await session.next('presence')).state, { x: 0, y: 0 });
  cursor.x = 5;
  flushSync();
  assert.deepEqual((await session.next('presence')).state, { x: 5, y: 0 });
  close();
});

test('a page can show how the connection is, and what waits for it', async (t) => {
  const outbox = createOutbox();
  const { server, client, made } = await begin(t, (use) => ({
    cards: live(listCards, () => ({}), use),
    reach: connection({ ...use, outbox }),
    add: call(addCard, { ...use, outbox }),
  }));
  const { reach, add } = made;
  const session = await server.session();
  await session.next('subscribe');
  await until(() => reach.status === 'open');
  assert.deepEqual([reach.retryAt, reach.waiting], [undefined, 0]);
  server.refuse = true;
  session.cut();
  await until(() => reach.status === 'offline');
  assert.ok(reach.retryAt instanceof Date);
  const added = add({ title: 't' });
  await until(() => reach.waiting === 1);
  server.refuse = false;
  reach.retry();
  const again = await server.session();
  const call_ = await again.next('subscribe').then(() => again.next('call'));
  again.done(call_, 'added');
  assert.equal(await added, 'added');
  await until(() => reach.waiting === 0 && reach.retryAt === undefined);
  assert.equal(client.connection.status, 'open');
});
