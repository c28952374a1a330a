import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  createForgeClient,
  mutation,
  query,
} from '../../node_modules/.cache/forge-client/client/client.js';
import { backend, fail, ok, rejection, signal } from '../backend.js';

const me = query('me');
const signIn = mutation('sign_in');

/** A back end that takes one token, and says so when all of so many calls with another one have arrived. */
const guarded = (t, valid, gathered = 1) => {
  const all = signal();
  let refused = 0;
  return backend(t, async ({ headers }) => {
    if (headers.authorization === `Bearer ${valid}`) return ok('ada');
    if (++refused === gathered) all.settle();
    await all.promise;
    return fail(401, 'UNAUTHORIZED');
  });
};

test('twenty refused calls share one refresh', async (t) => {
  const { url, requests } = await guarded(t, 'new', 20);
  let token = 'old';
  let refreshes = 0;
  const lost = [];
  const client = createForgeClient({
    url,
    onSignedOut: (error) => lost.push(error),
    getToken: async ({ force }) => {
      await new Promise(setImmediate);
      if (force) {
        refreshes += 1;
        token = 'new';
      }
      return token;
    },
  });
  const answers = await Promise.all(Array.from({ length: 20 }, () => client.query(me)));
  assert.deepEqual(answers, Array(20).fill('ada'));
  assert.equal(refreshes, 1);
  assert.equal(requests.length, 40);
  assert.deepEqual(lost, []);
});

test('a refusal that arrives after the refresh does not cause another', async (t) => {
  const late = signal();
  const { url } = await backend(t, async ({ args, headers }) => {
    if (headers.authorization === 'Bearer new') return ok(args.n);
    if (args.n === 2) await late.promise;
    return fail(401, 'UNAUTHORIZED');
  });
  let token = 'old';
  let refreshes = 0;
  const getToken = ({ force }) => {
    if (force) {
      refreshes += 1;
      token = 'new';
    }
    return token;
  };
  const client = createForgeClient({ url, getToken });
  const second = client.query(me, { n: 2 });
  assert.equal(await client.query(me, { n: 1 }), 1);
  late.settle();
  assert.equal(await second, 2);
  assert.equal(refreshes, 1);
});

test('a mutation that was refused is repeated with its own id', async (t) => {
  const { url, requests } = await guarded(t, 'new');
  const client = createForgeClient({ url, getToken: ({ force }) => (force ? 'new' : 'old') });
  assert.equal(await client.mutate(mutation('rename'), {}), 'ada');
  assert.equal(requests.length, 2);
  assert.equal(
    requests[0].headers['x-forge-mutation-id'],
    requests[1].headers['x-forge-mutation-id'],
  );
});

test('when no new token is to be had the app is told once', async (t) => {
  for (const renewed of ['old', null, 'bad too']) {
    const { url, requests } = await guarded(t, 'new', 5);
    const lost = [];
    const getToken = ({ force }) => (force ? renewed : 'old');
    const client = createForgeClient({
      url,
      getToken,
      onSignedOut: (error) => lost.push(error.code),
    });
    const errors = await Promise.all(Array.from({ length: 5 }, () => rejection(client.query(me))));
    assert.deepEqual(
      errors.map((error) => [error.code, error.status]),
      Array(5).fill(['UNAUTHORIZED', 401]),
    );
    assert.deepEqual(lost, ['UNAUTHORIZED']);
    assert.equal(requests.length, renewed === 'bad too' ? 10 : 5);
  }
});

test('a session that begins later can end as well', async (t) => {
  const { url } = await backend(t, ({ headers }) =>
    headers.authorization === 'Bearer b' ? ok('ada') : fail(401, 'UNAUTHORIZED'),
  );
  let lost = 0;
  let token = 'a';
  const client = createForgeClient({
    url,
    getToken: () => token,
    onSignedOut: () => (lost += 1),
  });
  await rejection(client.query(me));
  await rejection(client.query(me));
  assert.equal(lost, 1);
  token = 'b';
  await client.query(me);
  token = 'a';
  await rejection(client.query(me));
  assert.equal(lost, 2);
});

test('a session in a cookie ends the same way', async (t) => {
  const { url, requests } = await backend(t, () => fail(401, 'UNAUTHORIZED'));
  let lost = 0;
  const client = createForgeClient({ url, onSignedOut: () => (lost += 1) });
  await rejection(client.query(me));
  await rejection(client.query(me));
  assert.equal(lost, 1);
  assert.equal(requests.length, 2);
});

test('being forbidden something signs nobody out, and a 401 of a proxy neither', async (t) => {
  const answers = [
    fail(403, 'FORBIDDEN'),
    { status: 401, body: '<h1>Authorization Required</h1>' },
  ];
  const { url, requests } = await backend(t, ({ count }) => answers[count - 1]);
  let asked = 0;
  const client = createForgeClient({
    url,
    getToken: () => `token ${(asked += 1)}`,
    onSignedOut: () => assert.fail('signed out'),
  });
  assert.equal((await rejection(client.query(me))).code, 'FORBIDDEN');
  assert.equal((await rejection(client.query(me))).code, 'BAD_RESPONSE');
  assert.equal(asked, 2);
  assert.equal(requests.length, 2);
});

test('signing in is called as nobody: a wrong password ends no session', async (t) => {
  const { url, requests } = await backend(t, () => fail(401, 'UNAUTHORIZED'));
  const client = createForgeClient({
    url,
    getToken: () => assert.fail('asked for a token'),
    onSignedOut: () => assert.fail('signed out'),
  });
  assert.equal((await rejection(client.mutate(signIn, {}, { auth: false }))).code, 'UNAUTHORIZED');
  assert.equal(requests[0].headers.authorization, undefined);
  assert.equal(requests.length, 1);
});

test('a refresh may use the same client', async (t) => {
  const { url } = await backend(t, ({ name, headers }) => {
    if (name === 'refresh') return ok('new');
    return headers.authorization === 'Bearer new' ? ok('ada') : fail(401, 'UNAUTHORIZED');
  });
  const client = createForgeClient({
    url,
    getToken: ({ force }) =>
      force ? client.mutate(mutation('refresh'), {}, { auth: false }) : 'old',
  });
  assert.equal(await client.query(me), 'ada');
});

test('a refresh that fails ends no session, and the next call tries anew', async (t) => {
  const { url } = await guarded(t, 'new');
  let tries = 0;
  const client = createForgeClient({
    url,
    onSignedOut: () => assert.fail('signed out'),
    getToken: ({ force }) => {
      if (!force) return 'old';
      tries += 1;
      if (tries === 1) throw new TypeError('the network is down');
      return 'new';
    },
  });
  const error = await rejection(client.query(me));
  assert.equal(error.code, 'TOKEN_UNAVAILABLE');
  assert.match(error.message, /the network is down/);
  assert.equal(await client.query(me), 'ada');
});
