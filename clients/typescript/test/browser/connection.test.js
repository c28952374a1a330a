import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createForgeClient, query } from '../../node_modules/.cache/forge-client/client/client.js';
import { queue, status, watch, wire } from '../wire.js';

const listCards = query('list_cards');
const cardsOf = (columnId) => ({ columnId });
const rows = (...ids) => ids.map((id) => ({ id }));

/** A client with one subscription that has its first result, and its session. */
async function begin(t, live = {}) {
  const server = await wire(t);
  const client = createForgeClient({ url: server.url, live: { retryDelay: 20, ...live } });
  t.after(() => client.connection.close());
  const cards = watch(client, listCards, cardsOf('a'));
  const session = await server.session();
  const { id } = await session.next('subscribe');
  session.frame([{ id, version: 'v1', data: rows(1, 2) }]);
  await cards.until((now) => now.data);
  return { server, client, cards, session, id };
}

test('a connection that breaks is opened anew, and the copy is resumed', async (t) => {
  const { server, client, cards, session } = await begin(t);
  const statuses = [];
  client.connection.onChange((now) => statuses.push(now));
  const first = cards.current.data;
  session.cut();
  const cut = await cards.until((now) => now.stale);
  assert.deepEqual([cut.data, cut.loading, cut.error], [rows(1, 2), false, undefined]);

  const second = await server.session();
  const resumed = await second.next('subscribe');
  assert.equal(resumed.version, 'v1');
  assert.equal(cards.current.stale, true);
  second.frame([{ id: resumed.id, version: 'v1', current: true }]);
  await cards.until((now) => !now.stale);
  assert.equal(cards.current.data, first);

  second.close(1012);
  const third = await server.session();
  const { id } = await third.next('subscribe');
  third.frame([[id, 'v2', ['d', 0]]]);
  await cards.until((now) => !now.stale);
  assert.deepEqual(cards.current.data, rows(2));
  assert.equal(cards.current.data[0], first[1]);
  assert.ok(statuses.includes('connecting') && statuses.at(-1) === 'open');
});

test('a frame that breaks off in the middle is as if it had not been sent', async (t) => {
  const { server, cards, session, id } = await begin(t);
  session.sendHalf({ type: 'frame', results: [{ id, version: 'v2', data: rows(3) }] });
  const second = await server.session();
  const resumed = await second.next('subscribe');
  assert.equal(resumed.version, 'v1');
  second.frame([[resumed.id, 'v2', ['d', 1]]]);
  await cards.until((now) => !now.stale && now.data.length === 1);
  assert.deepEqual(
    cards.seen.map((now) => now.data.map((row) => row.id)),
    [[1, 2], [1, 2], [1]],
  );
});

test('a thousand subscriptions are resumed, each with its version, and told once', async (t) => {
  const server = await wire(t);
  const client = createForgeClient({ url: server.url });
  t.after(() => client.connection.close());
  const count = 1000;
  const all = Array.from({ length: count }, (_, n) => watch(client, listCards, cardsOf(`c${n}`)));
  const asked = async (session) => {
    const messages = [];
    for (let n = 0; n < count; n++) messages.push(await session.next('subscribe'));
    return messages;
  };
  const first = await server.session();
  const before = await asked(first);
  first.frame(before.map(({ id, args }) => ({ id, version: args.columnId, data: rows(1) })));
  await all.at(-1).until((now) => now.data);

  first.cut();
  const second = await server.session();
  const after = await asked(second);
  assert.equal(new Set([...before, ...after].map(({ id }) => id)).size, 2 * count);
  for (const { args, version } of after) assert.equal(version, args.columnId);
  assert.ok(all.every((cards) => cards.current.stale));
  second.frame(
    after.map(({ id, version }, n) =>
      n % 2 === 0
        ? { id, version, current: true }
        : [id, `${version}'`, ['i', 1, { id: 2 }]],
    ),
  );
  await all.at(-1).until((now) => !now.stale);
  all.forEach((cards, n) => {
    assert.deepEqual(cards.current.data, n % 2 === 0 ? rows(1) : rows(1, 2));
    assert.deepEqual(
      cards.seen.map((now) => now.stale),
      [false, true, false],
    );
  });
});

test('the pauses between attempts grow, and one is made at once when the network is back', async (t) => {
  // What a page has and Node has not.
  const page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  globalThis.removeEventListener = page.removeEventListener.bind(page);
  t.after(() => {
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  });
  const { server, client, cards, session } = await begin(t, { retryDelay: 60_000 });
  server.refuse = true;
  session.cut();
  // The first attempt is made at once; the next would be half a minute away at least.
  await status(client, 'offline');
  assert.equal(cards.current.stale, true);
  server.refuse = false;
  page.dispatchEvent(new Event('online'));
  await status(client, 'open');
  await (await server.session()).next('subscribe');
});

test('a page that is seen again does not wait either', async (t) => {
  globalThis.document = Object.assign(new EventTarget(), { visibilityState: 'hidden' });
  t.after(() => delete globalThis.document);
  const { server, client, session } = await begin(t, { retryDelay: 60_000 });
  server.refuse = true;
  session.cut();
  await status(client, 'offline');
  server.refuse = false;
  document.dispatchEvent(new Event('visibilitychange'));
  assert.equal(client.connection.status, 'offline');
  document.visibilityState = 'visible';
  document.dispatchEvent(new Event('visibilitychange'));
  const second = await server.session();
  await status(client, 'open');
  // Seen again while it is open, the connection is asked whether it still is.
  document.dispatchEvent(new Event('visibilitychange'));
  await second.next('subscribe');
  await second.next('ping');
});

test('a back end that is too busy is not asked again at once', async (t) => {
  const { client, session } = await begin(t, { retryDelay: 60_000 });
  session.close(1013);
  await status(client, 'offline');
});

test('what is no message of the back end ends the connection', async (t) => {
  const { client, cards, session } = await begin(t, { retryDelay: 60_000 });
  session.send(5);
  await status(client, 'offline');
  assert.equal(cards.current.stale, true);
});

test('a connection that went silent is noticed, and one that answers is kept', async (t) => {
  const { server, cards, session, id } = await begin(t, { heartbeat: 25 });
  for (let n = 0; n < 3; n++) {
    await session.next('ping');
    session.send({ type: 'pong' });
  }
  await session.next('ping');
  // No answer: the client gives it up.
  const second = await server.session();
  assert.equal((await second.next('subscribe')).version, 'v1');
  // Whatever the old one still says is not heard.
  session.frame([{ id, version: 'v9', data: 'late' }]);
  second.send({ type: 'pong' });
  await second.next('ping');
  assert.deepEqual(cards.current.data, rows(1, 2));
});

/** A back end whose sessions begin with a token. */
const guarded = (t, accepted) => {
  const tokens = queue();
  return wire(t, {
    tokens,
    greet: (session) => {
      session.hello();
      void session.next('auth').then(({ token }) => {
        if (accepted(token)) session.send({ type: 'authenticated' });
        else {
          session.send({ type: 'error', code: 'UNAUTHORIZED', message: 'who is that?' });
          session.close(4401);
        }
      });
    },
  });
};

test('the token is the first message, and nothing is asked before it was accepted', async (t) => {
  const server = await wire(t);
  const client = createForgeClient({ url: server.url, getToken: () => 'mine' });
  t.after(() => client.connection.close());
  const cards = watch(client, listCards, cardsOf('a'));
  const session = await server.session();
  assert.deepEqual(await session.next('auth'), { type: 'auth', token: 'mine' });
  assert.equal(client.connection.status, 'connecting');
  assert.equal(session.waiting, 0);
  session.send({ type: 'authenticated' });
  const { id } = await session.next('subscribe');
  session.frame([{ id, version: '1', data: 1 }]);
  await cards.until((now) => now.data === 1);
});

test('a token that has run out is renewed once, and the copies are resumed without being lost', async (t) => {
  let token = 'old';
  let renewals = 0;
  const valid = new Set(['old']);
  const server = await guarded(t, (token) => valid.has(token));
  const client = createForgeClient({
    url: server.url,
    getToken: ({ force }) => {
      if (force) {
        renewals += 1;
        token = 'new';
      }
      return token;
    },
  });
  t.after(() => client.connection.close());
  const cards = watch(client, listCards, cardsOf('a'));
  const first = await server.session();
  const { id } = await first.next('subscribe');
  first.frame([{ id, version: 'v1', data: rows(1) }]);
  await cards.until((now) => now.data);
  valid.clear();
  valid.add('new');
  first.send({ type: 'error', code: 'UNAUTHORIZED', message: 'it has expired' });
  first.close(4401);
  const second = await server.session();
  const resumed = await second.next('subscribe');
  assert.deepEqual([resumed.version, renewals], ['v1', 1]);
  second.frame([{ id: resumed.id, version: 'v1', current: true }]);
  await cards.until((now) => !now.stale);
  assert.deepEqual(cards.data, [rows(1), rows(1), rows(1)]);
});

test('a session that ends takes what was read along, and what anybody may see goes on', async (t) => {
  let token = 'ada';
  const lost = [];
  const server = await wire(t, {
    greet: (session) => {
      session.hello();
      if (token) session.send({ type: 'authenticated' });
    },
  });
  const client = createForgeClient({
    url: server.url,
    getToken: () => token,
    onSignedOut: (error) => {
      lost.push(error.message);
      token = undefined;
    },
  });
  t.after(() => client.connection.close());
  const cards = watch(client, listCards, cardsOf('a'));
  const first = await server.session();
  await first.next('auth');
  const { id } = await first.next('subscribe');
  first.frame([{ id, version: 'v1', data: rows(1) }]);
  await cards.until((now) => now.data);
  first.send({ type: 'error', code: 'UNAUTHORIZED', message: 'signed out elsewhere' });
  first.close(4401);
  const gone = await cards.until((now) => !now.data);
  assert.deepEqual([gone.loading, gone.error], [true, undefined]);

  const second = await server.session();
  const asked = await second.next('subscribe');
  assert.equal(asked.version, undefined);
  second.send({ type: 'error', id: asked.id, code: 'UNAUTHORIZED', message: 'sign in' });
  await cards.until((now) => now.error?.code === 'UNAUTHORIZED');
  assert.deepEqual(lost, ['signed out elsewhere']);
  assert.equal(client.connection.status, 'open');
});

test('a token that is refused for good ends it, until something changes', async (t) => {
  let good = false;
  const lost = [];
  const server = await guarded(t, () => good);
  const client = createForgeClient({
    url: server.url,
    getToken: () => 'mine',
    onSignedOut: (error) => lost.push(error.code),
  });
  t.after(() => client.connection.close());
  const cards = watch(client, listCards, cardsOf('a'));
  const ended = await cards.until((now) => now.error);
  assert.deepEqual([ended.error.code, ended.data, ended.loading], ['UNAUTHORIZED', undefined, false]);
  assert.equal(client.connection.status, 'closed');
  assert.deepEqual(lost, ['UNAUTHORIZED']);
  assert.equal((await server.session()).headers.upgrade, 'websocket');
  assert.equal(server.waiting, 0);

  good = true;
  client.connection.restart();
  const session = await server.session();
  const { id } = await session.next('subscribe');
  session.frame([{ id, version: '1', data: 1 }]);
  await cards.until((now) => now.data === 1 && !now.error);
});

test('a renewed token that is refused too is no reason to go on renewing', async (t) => {
  let renewals = 0;
  const server = await guarded(t, () => false);
  const client = createForgeClient({
    url: server.url,
    getToken: ({ force }) => (force ? `token ${(renewals += 1)}` : `token ${renewals}`),
  });
  t.after(() => client.connection.close());
  const cards = watch(client, listCards, cardsOf('a'));
  await cards.until((now) => now.error?.code === 'UNAUTHORIZED');
  assert.equal(renewals, 1);
});

test('a renewal that fails ends no session: it is tried again', async (t) => {
  let tries = 0;
  const server = await guarded(t, (token) => token === 'new');
  const client = createForgeClient({
    url: server.url,
    live: { retryDelay: 10 },
    onSignedOut: () => assert.fail('signed out'),
    getToken: ({ force }) => {
      if (!force) return tries < 2 ? 'old' : 'new';
      tries += 1;
      if (tries === 1) throw new Error('the network is down');
      return 'new';
    },
  });
  t.after(() => client.connection.close());
  const cards = watch(client, listCards, cardsOf('a'));
  await status(client, 'open');
  assert.equal(cards.current.error, undefined);
});

test('clients of a node that stops do not come back together; one that was cut off comes at once', async (t) => {
  const { server, session } = await begin(t);
  t.mock.method(Math, 'random', () => 0.95);
  const timers = t.mock.method(globalThis, 'setTimeout');
  const delays = () => timers.mock.calls.map(({ arguments: [, delay] }) => Math.round(delay));
  session.cut();
  const second = await server.session();
  await second.next('subscribe');
  assert.ok(delays().includes(285), `within 300 ms: ${delays()}`);
  timers.mock.resetCalls();
  second.close(1012);
  await second.ended;
  while (!delays().includes(1900)) await new Promise(setImmediate);
  assert.ok(!delays().includes(285), `within two seconds: ${delays()}`);
  await (await server.session()).next('subscribe');
});

test('it tells when it tries again, and can be told to do so now', async (t) => {
  const { server, client, session } = await begin(t, { retryDelay: 60_000, retryDelayMax: 60_000 });
  assert.equal(client.connection.retryAt, undefined);
  server.refuse = true;
  session.cut();
  await status(client, 'offline');
  const left = client.connection.retryAt.getTime() - Date.now();
  assert.ok(left > 20_000 && left <= 60_000, `${left}`);
  server.refuse = false;
  client.connection.retry();
  await status(client, 'open');
  assert.equal(client.connection.retryAt, undefined);
});

test('a network that is said to be gone is looked after at once', async (t) => {
  const page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  globalThis.removeEventListener = page.removeEventListener.bind(page);
  t.after(() => {
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  });
  const { session } = await begin(t);
  page.dispatchEvent(new Event('offline'));
  await session.next('ping');
});
