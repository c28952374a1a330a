import assert from 'node:assert/strict';
import { test } from 'node:test';
import { flushSync } from 'svelte';

import {
  createForgeClient,
  mutation,
  query,
} from '../../node_modules/.cache/forge-client/client/client.js';
import { call, load } from '../../node_modules/.cache/forge-client/client/svelte.svelte.js';
import { backend, fail, ok, rejection, signal } from '../backend.js';
import {
  cell,
  inComponent,
  until,
} from '../../node_modules/.cache/forge-client/client/reactive.svelte.js';

const listCards = query('list_cards');
const addCard = mutation('add_card');

test('a call shows that it is pending, then its result', async (t) => {
  const answer = signal();
  const { url } = await backend(t, () => answer.promise);
  const add = call(addCard, { client: createForgeClient({ url }) });
  assert.deepEqual([add.pending, add.data, add.error], [false, undefined, undefined]);
  const result = add({ title: 'x' });
  assert.equal(add.pending, true);
  answer.settle(ok({ id: '1' }));
  assert.deepEqual(await result, { id: '1' });
  assert.deepEqual([add.pending, add.data, add.error], [false, { id: '1' }, undefined]);
});

test('a call that fails shows why, needs no catch, and still rejects', async (t) => {
  const { url } = await backend(t, ({ count }) => (count < 3 ? fail(409, 'COLUMN_FULL') : ok(1)));
  const add = call(addCard, { client: createForgeClient({ url }) });
  // Nobody waits for this one: an unhandled rejection would end the test run.
  add({});
  await until(() => !add.pending);
  assert.equal(add.error.code, 'COLUMN_FULL');
  assert.equal((await rejection(add({}))).code, 'COLUMN_FULL');
  const third = add({});
  assert.equal(add.error, undefined);
  await third;
  assert.equal(add.error, undefined);
});

test('of calls that overlap the last one counts', async (t) => {
  const slow = signal();
  const { url } = await backend(t, async ({ args }) => {
    if (args.n === 1) await slow.promise;
    return ok(args.n);
  });
  const add = call(addCard, { client: createForgeClient({ url }) });
  const first = add({ n: 1 });
  assert.equal(await add({ n: 2 }), 2);
  assert.equal(add.pending, true);
  slow.settle();
  assert.equal(await first, 1);
  assert.deepEqual([add.data, add.pending], [2, false]);
});

test('an effect that calls does not depend on the call', async (t) => {
  const { url } = await backend(t, () => ok(1));
  const add = call(addCard, { client: createForgeClient({ url }) });
  let runs = 0;
  const close = inComponent((effect) => effect(() => void ((runs += 1), add({}))));
  t.after(close);
  flushSync();
  await until(() => add.data === 1);
  flushSync();
  assert.equal(runs, 1);
});

test('load asks, and asks again when its arguments change', async (t) => {
  const { url, requests } = await backend(t, ({ args }) => ok(`cards of ${args.columnId}`));
  const client = createForgeClient({ url });
  const column = cell('a');
  let cards;
  t.after(
    inComponent(() => (cards = load(listCards, () => ({ columnId: column.value }), { client }))),
  );
  assert.deepEqual([cards.loading, cards.data], [true, undefined]);
  await until(() => !cards.loading);
  assert.equal(cards.data, 'cards of a');
  column.value = 'b';
  flushSync();
  // What was there stays until the new result arrives.
  assert.deepEqual([cards.loading, cards.data], [true, 'cards of a']);
  await until(() => !cards.loading);
  assert.equal(cards.data, 'cards of b');
  assert.equal(requests.length, 2);
});

test('arguments that are equal again are no change', async (t) => {
  const { url, requests } = await backend(t, () => ok(1));
  const client = createForgeClient({ url });
  const filter = cell({ state: 'open' });
  let cards;
  t.after(inComponent(() => (cards = load(listCards, () => ({ ...filter.value }), { client }))));
  await until(() => !cards.loading);
  filter.value = { state: 'open' };
  flushSync();
  assert.equal(cards.loading, false);
  assert.equal(requests.length, 1);
});

test('an answer that was overtaken is not shown, and its request is aborted', async (t) => {
  const gone = signal();
  const arrived = signal();
  const { url } = await backend(t, ({ args, response }) => {
    if (args.columnId === 'b') return ok('b');
    response.on('close', gone.settle);
    return void arrived.settle();
  });
  const client = createForgeClient({ url });
  const column = cell('a');
  let cards;
  t.after(
    inComponent(() => (cards = load(listCards, () => ({ columnId: column.value }), { client }))),
  );
  await arrived.promise;
  column.value = 'b';
  flushSync();
  await gone.promise;
  await until(() => !cards.loading);
  assert.deepEqual([cards.data, cards.error], ['b', undefined]);
});

test('an answer that comes out of order is ignored even when the request cannot be aborted', async (t) => {
  const answers = new Map();
  const deaf = {
    query: (_, { columnId }) =>
      new Promise((resolve) => answers.set(columnId, () => resolve(columnId))),
  };
  const column = cell('a');
  let cards;
  t.after(
    inComponent(
      () => (cards = load(listCards, () => ({ columnId: column.value }), { client: deaf })),
    ),
  );
  column.value = 'b';
  flushSync();
  answers.get('b')();
  await until(() => cards.data === 'b');
  answers.get('a')();
  await new Promise(setImmediate);
  assert.equal(cards.data, 'b');
});

test('without arguments nothing is asked', async (t) => {
  const { url, requests } = await backend(t, () => ok('one'));
  const client = createForgeClient({ url });
  const id = cell(undefined);
  let card;
  t.after(
    inComponent(
      () => (card = load(listCards, () => (id.value ? { id: id.value } : undefined), { client })),
    ),
  );
  assert.equal(card.loading, false);
  await card.reload();
  assert.equal(requests.length, 0);
  id.value = '1';
  flushSync();
  await until(() => card.data === 'one');
  id.value = undefined;
  flushSync();
  assert.deepEqual([card.data, card.loading], [undefined, false]);
});

test('reload asks again, keeps the data when that fails, and never rejects', async (t) => {
  const { url } = await backend(t, ({ count }) =>
    count === 2 ? fail(500, 'INTERNAL_ERROR') : ok(count),
  );
  const client = createForgeClient({ url });
  let cards;
  t.after(inComponent(() => (cards = load(listCards, undefined, { client }))));
  await until(() => !cards.loading);
  const again = cards.reload();
  assert.equal(cards.loading, true);
  await again;
  assert.deepEqual([cards.data, cards.error.code, cards.loading], [1, 'INTERNAL_ERROR', false]);
  await cards.reload();
  assert.deepEqual([cards.data, cards.error], [3, undefined]);
});

test('a component that goes aborts what it asked, and a reload afterwards asks nothing', async (t) => {
  const gone = signal();
  const arrived = signal();
  const { url, requests } = await backend(t, ({ response }) => {
    response.on('close', gone.settle);
    arrived.settle();
  });
  const client = createForgeClient({ url });
  let cards;
  const close = inComponent(() => (cards = load(listCards, () => ({}), { client })));
  await arrived.promise;
  close();
  await gone.promise;
  await cards.reload();
  assert.deepEqual([cards.data, cards.error, requests.length], [undefined, undefined, 1]);
});
