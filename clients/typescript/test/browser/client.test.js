import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';

import {
  ForgeError,
  action,
  createForgeClient,
  mutation,
  query,
} from '../../node_modules/.cache/forge-client/client/client.js';
import { backend, fail, ok, rejection, signal } from '../backend.js';

const listCards = query('list_cards');
const addCard = mutation('add_card');
const importCards = action('import_cards');

test('a query posts its arguments and gives the data', async (t) => {
  const { url, requests } = await backend(t, () => ok([{ id: '1', size: '9007199254740993' }]));
  const client = createForgeClient({ url: `${url}/` });
  assert.deepEqual(await client.query(listCards, { columnId: 'c' }), [
    { id: '1', size: '9007199254740993' },
  ]);
  const [request] = requests;
  assert.equal(request.method, 'POST');
  assert.equal(request.name, 'list_cards');
  assert.deepEqual(request.args, { columnId: 'c' });
  assert.equal(request.headers['content-type'], 'application/json');
  assert.equal(request.headers['x-forge-csrf'], '1');
  assert.equal(request.headers['authorization'], undefined);
  assert.equal(request.headers['x-forge-mutation-id'], undefined);
});

test('a function without arguments is sent the empty object, and may give null', async (t) => {
  const { url, requests } = await backend(t, () => ok(null));
  const client = createForgeClient({ url });
  assert.equal(await client.action(importCards), null);
  assert.equal(requests[0].body, '{}');
});

test('methods work on their own, and call goes by the kind', async (t) => {
  const { url, requests } = await backend(t, () => ok(1));
  const { mutate, call } = createForgeClient({ url });
  await mutate(addCard, {});
  await call(addCard, {});
  await call(listCards, {});
  const ids = requests.map((request) => request.headers['x-forge-mutation-id']);
  const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
  assert.match(ids[0], uuid);
  assert.match(ids[1], uuid);
  assert.notEqual(ids[0], ids[1]);
  assert.equal(ids[2], undefined);
});

test('a page without TLS has mutation ids too', async (t) => {
  const { url, requests } = await backend(t, () => ok(1));
  const original = crypto.randomUUID;
  crypto.randomUUID = undefined;
  t.after(() => (crypto.randomUUID = original));
  await createForgeClient({ url }).mutate(addCard, {});
  assert.match(
    requests[0].headers['x-forge-mutation-id'],
    /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
  );
});

test('headers of the app go along, and cannot replace those of the wire', async (t) => {
  const { url, requests } = await backend(t, () => ok(1));
  let language = 'de';
  const headers = () => ({ 'accept-language': language, 'content-type': 'text/plain' });
  const client = createForgeClient({ url, headers, credentials: 'omit' });
  await client.query(listCards, {});
  language = 'si';
  await client.query(listCards, {});
  assert.deepEqual(
    requests.map((request) => request.headers['accept-language']),
    ['de', 'si'],
  );
  assert.equal(requests[0].headers['content-type'], 'application/json');
  assert.equal(requests[0].headers['x-forge-csrf'], undefined);
});

test('an error of the back end keeps its code, details, status and ids', async (t) => {
  const { url } = await backend(t, () =>
    fail(409, 'COLUMN_FULL', { details: { limit: 10 }, message: 'the column holds 10 cards' }),
  );
  const error = await rejection(createForgeClient({ url }).mutate(addCard, {}));
  assert.ok(error instanceof ForgeError && error instanceof Error);
  assert.equal(error.name, 'ForgeError');
  assert.equal(error.code, 'COLUMN_FULL');
  assert.equal(error.message, 'the column holds 10 cards');
  assert.deepEqual(error.details, { limit: 10 });
  assert.equal(error.status, 409);
  assert.equal(error.requestId, 'r-1');
  assert.equal(error.retryAfter, undefined);
  assert.deepEqual({ ...error.fields }, {});
});

test('a broken rule is told field by field', async (t) => {
  const details = {
    title: ['must not be empty'],
    'items.0.size': ['must be at most 9', 7],
    odd: 'no list',
  };
  const { url } = await backend(t, () => fail(400, 'VALIDATION_ERROR', { details }));
  const error = await rejection(createForgeClient({ url }).mutate(addCard, {}));
  assert.deepEqual(
    { ...error.fields },
    { title: ['must not be empty'], 'items.0.size': ['must be at most 9'] },
  );
  assert.equal(error.fields.constructor, undefined);
});

test('retry-after is read as seconds and as a date', async (t) => {
  const later = new Date(Date.now() + 90_000).toUTCString();
  const { url } = await backend(t, ({ count }) =>
    fail(429, 'RATE_LIMITED', { headers: { 'retry-after': ['7', later, 'soon'][count - 1] } }),
  );
  const client = createForgeClient({ url });
  const wait = async () => (await rejection(client.query(listCards, {}))).retryAfter;
  assert.equal(await wait(), 7);
  const seconds = await wait();
  assert.ok(seconds > 80 && seconds <= 90, `${seconds}`);
  assert.equal(await wait(), undefined);
});

test('a page of a proxy is no answer', async (t) => {
  const html = { headers: { 'content-type': 'text/html' }, body: '<html><h1>Sign in</h1></html>' };
  const bodies = [
    html,
    { body: '{"hello": 1}' },
    { body: '[]' },
    { body: '{"success": true}' },
    { body: 'null' },
    { body: '' },
  ];
  const { url } = await backend(t, ({ count }) => bodies[count - 1]);
  const client = createForgeClient({ url });
  for (const _ of bodies) {
    const error = await rejection(client.query(listCards, {}));
    assert.equal(error.code, 'BAD_RESPONSE');
    assert.equal(error.status, 200);
  }
});

test('a back end that cannot be reached is a network error', async (t) => {
  const { url } = await backend(t, ({ response }) => void response.destroy());
  const error = await rejection(createForgeClient({ url, retries: 0 }).query(listCards, {}));
  assert.equal(error.code, 'NETWORK_ERROR');
  assert.match(error.message, /list_cards could not be called at http:.*\/rpc\/list_cards/);
  assert.ok(error.cause instanceof Error);
  assert.equal(error.status, undefined);
});

test('an answer that breaks off is a network error', async (t) => {
  const { url } = await backend(t, ({ response }) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
    response.write('{"success": tr', () => response.destroy());
  });
  const error = await rejection(createForgeClient({ url, retries: 0 }).query(listCards, {}));
  assert.equal(error.code, 'NETWORK_ERROR');
});

test('a mutation is repeated with the same id, and only where that is safe', async (t) => {
  const { url, requests } = await backend(t, ({ count, response }) => {
    if (count === 1) return void response.destroy();
    return count === 2 ? fail(503, 'OUTCOME_UNKNOWN') : ok('done');
  });
  assert.equal(await createForgeClient({ url }).mutate(addCard, { title: 'x' }), 'done');
  assert.equal(requests.length, 3);
  assert.equal(new Set(requests.map((request) => request.headers['x-forge-mutation-id'])).size, 1);
  assert.deepEqual(
    requests.map((request) => request.body),
    Array(3).fill('{"title":"x"}'),
  );
});

test('an id that the app gives is sent', async (t) => {
  const { url, requests } = await backend(t, () => ok(1));
  await createForgeClient({ url }).mutate(addCard, {}, { mutationId: 'mine' });
  assert.equal(requests[0].headers['x-forge-mutation-id'], 'mine');
});

test('a repeat is given up after two, and counts what was asked for', async (t) => {
  const { url, requests } = await backend(t, () => fail(503, 'DATABASE_UNAVAILABLE'));
  const error = await rejection(createForgeClient({ url }).query(listCards, {}));
  assert.equal(error.code, 'DATABASE_UNAVAILABLE');
  assert.equal(requests.length, 3);
});

test('a proxy whose back end restarts is waited for', async (t) => {
  const { url, requests } = await backend(t, ({ count }) =>
    count === 1 ? { status: 502, body: '<h1>Bad Gateway</h1>' } : ok('back'),
  );
  assert.equal(await createForgeClient({ url }).query(listCards, {}), 'back');
  assert.equal(requests.length, 2);
});

test('an action is never repeated, and no call is for other errors', async (t) => {
  const { url, requests } = await backend(t, ({ name }) =>
    name === 'import_cards' ? fail(503, 'DATABASE_UNAVAILABLE') : fail(500, 'INTERNAL_ERROR'),
  );
  const client = createForgeClient({ url });
  await rejection(client.action(importCards, {}));
  await rejection(client.mutate(addCard, {}));
  await rejection(client.query(listCards, {}));
  assert.equal(requests.length, 3);
});

test('retry-after is waited for, unless the time does not allow it', async (t) => {
  const { url, requests } = await backend(t, ({ count }) =>
    count === 2
      ? ok('late')
      : fail(503, 'DATABASE_UNAVAILABLE', { headers: { 'retry-after': '1' } }),
  );
  const client = createForgeClient({ url });
  const began = performance.now();
  assert.equal(await client.query(listCards, {}), 'late');
  assert.ok(performance.now() - began >= 990);
  const again = performance.now();
  const error = await rejection(client.query(listCards, {}, { timeout: 900 }));
  assert.equal(error.code, 'DATABASE_UNAVAILABLE');
  assert.ok(performance.now() - again < 800, 'it did not wait for nothing');
  assert.equal(requests.length, 3);
});

test('a call that takes too long ends, and the back end sees it go', async (t) => {
  const gone = signal();
  const { url } = await backend(t, ({ response }) => void response.on('close', gone.settle));
  const error = await rejection(createForgeClient({ url }).query(listCards, {}, { timeout: 50 }));
  assert.equal(error.code, 'TIMEOUT');
  assert.match(error.message, /list_cards was not answered within 50 ms/);
  await gone.promise;
});

test('the timeout covers an answer that never ends, and a token that never comes', async (t) => {
  const { url } = await backend(t, ({ response }) => void response.write('{'));
  const stuck = createForgeClient({ url, timeout: 50 });
  assert.equal((await rejection(stuck.query(listCards, {}))).code, 'TIMEOUT');
  const waiting = createForgeClient({ url, timeout: 50, getToken: () => new Promise(() => {}) });
  assert.equal((await rejection(waiting.query(listCards, {}))).code, 'TIMEOUT');
});

test('a timeout of 0, or of longer than timers count, is none', async (t) => {
  const { url } = await backend(t, () => ok(1));
  const client = createForgeClient({ url });
  for (const timeout of [0, Infinity, 1e12])
    assert.equal(await client.query(listCards, {}, { timeout }), 1);
});

test('a caller can abort a call before, during and between tries', async (t) => {
  const arrived = signal();
  const { url, requests } = await backend(t, ({ name, count }) => {
    if (count === 1) return void arrived.settle();
    setImmediate(() => between.abort());
    return fail(503, 'DATABASE_UNAVAILABLE', { headers: { 'retry-after': '5' } });
  });
  const client = createForgeClient({ url });
  const during = new AbortController();
  const call = rejection(client.query(listCards, {}, { signal: during.signal }));
  await arrived.promise;
  during.abort(new Error('enough'));
  const error = await call;
  assert.equal(error.code, 'CANCELLED');
  assert.equal(error.cause.message, 'enough');

  const between = new AbortController();
  assert.equal(
    (await rejection(client.query(listCards, {}, { signal: between.signal }))).code,
    'CANCELLED',
  );
  assert.equal(requests.length, 2);

  for (const auth of [true, false]) {
    const before = await rejection(
      client.query(listCards, {}, { signal: AbortSignal.abort(), auth }),
    );
    assert.equal(before.code, 'CANCELLED');
  }
  assert.equal(requests.length, 2);
});

test('a call that is over lets go of its signal', async (t) => {
  const { url } = await backend(t, () => ok(1));
  const { signal } = new AbortController();
  await createForgeClient({ url }).query(listCards, {}, { signal });
  assert.deepEqual(getEventListeners(signal, 'abort'), []);
});

test('arguments that JSON cannot say are refused here', async (t) => {
  const { url, requests } = await backend(t, () => ok(1));
  const error = await rejection(createForgeClient({ url }).query(listCards, { n: 1n }));
  assert.equal(error.code, 'INVALID_ARGUMENT');
  assert.match(error.message, /the arguments of list_cards/);
  assert.equal(requests.length, 0);
});

test('what the app gave and what throws is told as an error of the client', async () => {
  const client = createForgeClient({
    url: 'http://127.0.0.1:1',
    headers: () => {
      throw new Error('no headers today');
    },
  });
  const error = await rejection(client.query(listCards, {}));
  assert.equal(error.code, 'CLIENT_ERROR');
  assert.match(error.message, /no headers today/);
});

test('reads after a write carry its position', async (t) => {
  const first = signal();
  const { url, requests } = await backend(t, async ({ name, args }) => {
    if (args.at === '5') await first.promise;
    return ok(name, name === 'add_card' ? { 'x-forge-position': args.at } : {});
  });
  const client = createForgeClient({ url });
  const sent = async () => {
    await client.query(listCards, {});
    return requests.at(-1).headers['x-forge-position'];
  };
  assert.equal(await sent(), undefined);
  await client.mutate(addCard, { at: '3' });
  assert.equal(await sent(), '3');
  // Two writes at the same time: the one that is answered last may be the earlier one, so both are kept.
  const slow = client.mutate(addCard, { at: '5' });
  await client.mutate(addCard, { at: '7' });
  first.settle();
  await slow;
  assert.equal(await sent(), '7,5');
  await client.mutate(addCard, { at: '9' });
  assert.equal(await sent(), '9');
});
