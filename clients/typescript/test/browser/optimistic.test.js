import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  action,
  createForgeClient,
  mutation,
  query,
} from '../../node_modules/.cache/forge-client/client/client.js';
import { fail, ok, rejection, signal } from '../backend.js';
import { status, watch, wire } from '../wire.js';

const listCards = query('list_cards');
const countCards = query('count_cards');
const addCard = mutation('add_card');
const a = { columnId: 'a' };

/** A client with a list of titles and a count, both there, over an open connection. */
async function begin(t, answer = () => ok(null)) {
  const server = await wire(t, { answer });
  const client = createForgeClient({ url: server.url, live: { retryDelay: 60_000 } });
  t.after(() => client.connection.close());
  const cards = watch(client, listCards, a);
  const count = watch(client, countCards, a);
  const session = await server.session();
  const ids = [(await session.next('subscribe')).id, (await session.next('subscribe')).id];
  session.frame([
    { id: ids[0], version: '1', data: ['one'] },
    { id: ids[1], version: '1', data: 1 },
  ]);
  await cards.until((now) => now.data);
  return { server, client, cards, count, session, ids };
}

const adding = {
  optimistic: (q, { title }) => {
    q(listCards, a).append(title);
    q(countCards, a).update((now) => now + 1);
  },
};
const add = (client, title) => client.mutate(addCard, { title }, adding);
/** What a reader saw, with what it saw again left out. */
const seen = (cards) =>
  cards.data.map((data) => JSON.stringify(data)).filter((now, n, all) => now !== all[n - 1]);

test('a change shows at once, and goes in the frame that has it, before or after the answer', async (t) => {
  for (const answerFirst of [true, false]) {
    const { client, cards, count, session, ids } = await begin(t);
    const added = add(client, 'two');
    assert.deepEqual([cards.current.data, count.current.data], [['one', 'two'], 2]);
    const call = await session.next('call');
    const reply = () => session.send({ type: 'reply', id: call.id, data: null });
    const frame = () =>
      session.frame(
        [
          [ids[0], '2', ['i', 1, 'TWO']],
          { id: ids[1], version: '2', data: 2 },
        ],
        [call.mutationId],
      );
    for (const send of answerFirst ? [reply, frame] : [frame, reply]) send();
    await added;
    assert.deepEqual(cards.current.data, ['one', 'TWO']);
    assert.deepEqual(seen(cards), ['["one"]', '["one","two"]', '["one","TWO"]']);
    assert.deepEqual(seen(count), ['1', '2']);
  }
});

test('other frames go below the change', async (t) => {
  const { client, cards, session, ids } = await begin(t);
  const added = add(client, 'mine');
  const call = await session.next('call');
  session.frame([[ids[0], '2', ['i', 0, 'zero']]]);
  await cards.until((now) => now.data[0] === 'zero');
  session.send({ type: 'reply', id: call.id, data: null });
  session.frame([{ id: ids[0], version: '3', data: ['zero', 'theirs'] }], ['another']);
  await cards.until((now) => now.data[1] === 'theirs');
  session.frame([{ id: ids[0], version: '4', data: ['zero', 'theirs', 'mine'] }], [call.mutationId]);
  await added;
  assert.deepEqual(seen(cards), [
    '["one"]',
    '["one","mine"]',
    '["zero","one","mine"]',
    '["zero","theirs","mine"]',
  ]);
});

test('of two changes under way one fails: it alone is taken back', async (t) => {
  const { client, cards, count, session, ids } = await begin(t);
  const [good, bad] = [add(client, 'good'), rejection(add(client, 'bad'))];
  const first = await session.next('call');
  const second = await session.next('call');
  assert.deepEqual([cards.current.data, count.current.data], [['one', 'good', 'bad'], 3]);
  session.send({
    type: 'reply',
    id: second.id,
    error: { code: 'COLUMN_FULL', message: 'full', details: { limit: 2 } },
  });
  assert.equal((await bad).code, 'COLUMN_FULL');
  assert.deepEqual([cards.current.data, count.current.data], [['one', 'good'], 2]);
  session.frame(
    [
      { id: ids[0], version: '2', data: ['one', 'GOOD'] },
      { id: ids[1], version: '2', data: 2 },
    ],
    [first.mutationId],
  );
  session.send({ type: 'reply', id: first.id, data: null });
  await good;
  assert.deepEqual(seen(cards), [
    '["one"]',
    '["one","good"]',
    '["one","good","bad"]',
    '["one","good"]',
    '["one","GOOD"]',
  ]);
  assert.deepEqual(seen(count), ['1', '2', '3', '2']);
});

test('rows are changed, put first, removed and replaced; what was made up once stays', async (t) => {
  const { client, session, server } = await begin(t);
  const board = watch(client, query('board'), {});
  const { id } = await session.next('subscribe');
  session.frame([{ id, version: '1', data: [{ id: 1, n: 1 }, { id: 2, n: 2 }, { id: 3, n: 3 }] }]);
  await board.until((now) => now.data);
  let made = 0;
  void client
    .mutate(addCard, undefined, {
      optimistic: (q) => {
        const rows = q(query('board'), {});
        rows
          .remove((row) => row.id === 1)
          .change((row) => row.id === 2, { n: 9 })
          .change((row) => row.id === 3, (row) => ({ ...row, n: row.n * 2 }))
          .prepend({ id: `new ${(made += 1)}` });
        assert.equal(rows.data.length, 3);
        q(query('nobody_reads_this')).set(5);
        q(countCards, a).append('not a list');
      },
    })
    .catch(() => {});
  const expected = [{ id: 'new 1' }, { id: 2, n: 9 }, { id: 3, n: 6 }];
  assert.deepEqual(board.current.data, expected);
  const mine = board.current.data[0];
  session.frame([[id, '2', 2, 'n', 4]]);
  const now = await board.until((now) => now.data[2].n === 8);
  assert.equal(now.data[0], mine);
  assert.equal(made, 1);
  // Whoever comes later sees it too.
  assert.deepEqual(watch(client, query('board'), {}).current.data, now.data);
  assert.equal(server.requests.length, 0);
});

test('an expectation that throws is an error, and nothing is sent or shown', async (t) => {
  const { client, cards, session } = await begin(t);
  const optimistic = (q) => {
    q(listCards, a).set([]);
    throw new Error('mine');
  };
  const error = await rejection(client.mutate(addCard, {}, { optimistic }));
  assert.deepEqual([error.code, error.cause.message], ['CLIENT_ERROR', 'mine']);
  assert.equal(session.waiting, 0);
  assert.deepEqual(cards.seen.length, 1);

  // One that only throws later, over a result of another shape, is passed over.
  const reported = [];
  globalThis.reportError = (cause) => reported.push(cause.message);
  t.after(() => delete globalThis.reportError);
  void client
    .mutate(addCard, {}, { optimistic: (q) => q(listCards, a).update((now) => now.x.y) })
    .catch(() => {});
  assert.deepEqual(cards.current.data, ['one']);
  assert.equal(reported.length, 1);
});

test('called over HTTP, a change goes with the next frame that brings anything for it', async (t) => {
  const answer = signal();
  const { server, client, cards, session, ids } = await begin(t, () => answer.promise);
  const added = client.mutate(addCard, { title: 'two' }, {
    ...adding,
    signal: new AbortController().signal,
  });
  assert.deepEqual(cards.current.data, ['one', 'two']);
  answer.settle(ok(null));
  await added;
  assert.equal(server.requests.length, 1);
  session.frame([], []);
  session.frame([{ id: ids[0], version: '2', data: ['one', 'TWO'] }]);
  await cards.until((now) => now.data[1] === 'TWO');
  assert.deepEqual(seen(cards), ['["one"]', '["one","two"]', '["one","TWO"]']);
});

test('a change that no frame ever confirms goes after a while; one that fails over HTTP at once', async (t) => {
  const { client, cards } = await begin(t, ({ name }) =>
    name === 'add_card' ? fail(409, 'COLUMN_FULL') : ok(null),
  );
  const optimistic = (q) => q(listCards, a).set(['none']);
  const over = { optimistic, signal: new AbortController().signal };
  assert.equal((await rejection(client.mutate(addCard, {}, over))).code, 'COLUMN_FULL');
  assert.deepEqual(cards.current.data, ['one']);
  const timers = t.mock.method(globalThis, 'setTimeout');
  await client.action(action('import_cards'), {}, over);
  assert.deepEqual(cards.current.data, ['none']);
  // Not waited for: two seconds are over.
  timers.mock.calls.find(({ arguments: [, delay] }) => delay === 2_000).arguments[0]();
  assert.deepEqual(cards.current.data, ['one']);
});

test('an acknowledgement that is lost with the connection: the resumed result takes the place of the change', async (t) => {
  const { server, client, cards, count, session } = await begin(t);
  const added = add(client, 'two');
  const call = await session.next('call');
  const read = client.query(countCards, a);
  const asked = await session.next('call');
  session.send({ type: 'reply', id: call.id, data: null });
  session.send({ type: 'reply', id: asked.id, data: 1 });
  await read;
  session.cut();
  await added;
  await cards.until((now) => now.stale);
  assert.deepEqual(cards.current.data, ['one', 'two']);
  const second = await server.session();
  const [list, number] = [await second.next('subscribe'), await second.next('subscribe')];
  second.frame([
    [list.id, '2', ['i', 1, 'TWO']],
    { id: number.id, version: '2', data: 2 },
  ]);
  await cards.until((now) => !now.stale);
  assert.deepEqual(seen(cards), ['["one"]', '["one","two"]', '["one","TWO"]']);
  assert.deepEqual(seen(count), ['1', '2']);
});

test('a call that the connection took along is never shown twice, nor taken back for a moment', async (t) => {
  const answer = signal();
  const { server, client, cards, count, session } = await begin(t, () => answer.promise);
  const added = add(client, 'two');
  await session.next('call');
  session.cut();
  // The back end had done it: what is resumed has the effect, while the repeated call is under way.
  const second = await server.session();
  const [list, number] = [await second.next('subscribe'), await second.next('subscribe')];
  second.frame([
    { id: list.id, version: '2', data: ['one', 'TWO'] },
    { id: number.id, version: '2', data: 2 },
  ]);
  await cards.until((now) => !now.stale);
  assert.deepEqual(cards.current.data, ['one', 'two']);
  answer.settle(ok(null));
  // Over HTTP or over the new connection, as the pause may have it.
  void second.next('call').then(
    (call) => second.done(call, null),
    () => {},
  );
  await added;
  await cards.until((now) => now.data[1] === 'TWO');
  assert.deepEqual(seen(cards), ['["one"]', '["one","two"]', '["one","TWO"]']);
  assert.deepEqual(seen(count), ['1', '2']);
});

test('a frame that acknowledges and cannot be used keeps the change until the result is there', async (t) => {
  const { client, cards, count, session, ids } = await begin(t);
  const added = add(client, 'two');
  const call = await session.next('call');
  session.send({ type: 'reply', id: call.id, data: null });
  session.frame(
    [
      [ids[0], '3', ['d', 7]],
      { id: ids[1], version: '2', data: 2 },
    ],
    [call.mutationId],
  );
  await added;
  await session.next('unsubscribe');
  const again = await session.next('subscribe');
  assert.deepEqual(cards.current.data, ['one', 'two']);
  session.frame([{ id: again.id, version: '3', data: ['one', 'TWO'] }]);
  await cards.until((now) => now.data[1] === 'TWO');
  assert.deepEqual(seen(cards), ['["one"]', '["one","two"]', '["one","TWO"]']);
  assert.deepEqual(seen(count), ['1', '2']);
});

test('many changes at once, confirmed in any order, never flicker', async (t) => {
  const { client, cards, session, ids } = await begin(t);
  const titles = Array.from({ length: 20 }, (_, n) => `t${n}`);
  const all = titles.map((title) => add(client, title));
  const there = ['one'];
  let version = 1;
  for (const n of titles.keys()) {
    const { id, mutationId, args } = await session.next('call');
    const reply = () => session.send({ type: 'reply', id, data: null });
    if (n % 3 === 0) reply();
    there.push(args.title);
    session.frame([{ id: ids[0], version: `${(version += 1)}`, data: [...there] }], [mutationId]);
    if (n % 3 !== 0) reply();
  }
  await Promise.all(all);
  await cards.until((now) => now.data.length === 21);
  // From the moment it was added, each was always there, once, and in its place.
  cards.data.slice(titles.length + 1).forEach((data) => assert.deepEqual(data, ['one', ...titles]));
  await status(client, 'open');
});
