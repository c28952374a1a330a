// Sessions that cookies hold.

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';

import {
  action,
  createForgeClient,
  createOutbox,
  mutation,
  query,
} from '../../node_modules/.cache/forge-client/client/client.js';
import { backend, fail, ok, rejection, signal } from '../backend.js';
import { browser, site } from '../site.js';

const me = query('me');
const boards = query('boards');
const rename = mutation('rename');
const notify = action('notify');
const signIn = mutation('sign_in');
const signOut = mutation('sign_out');

/** Tabs that hear each other at once, so that a test knows when they have. */
class Channel {
  static open = [];
  constructor(name) {
    this.name = name;
    Channel.open.push(this);
  }
  postMessage(data) {
    for (const other of Channel.open)
      if (other !== this && other.name === this.name) other.onmessage({ data });
  }
}

/** Replaces something of the page until the test is over. */
const replaced = [];
function replace(name, value) {
  replaced.push([name, Object.getOwnPropertyDescriptor(globalThis, name)]);
  Object.defineProperty(globalThis, name, { value, configurable: true });
}
afterEach(() => {
  for (const [name, before] of replaced.splice(0)) {
    if (before) Object.defineProperty(globalThis, name, before);
    else delete globalThis[name];
  }
  Channel.open = [];
});

/** Lets a number of calls in when all of them have come. */
function gather(count) {
  const all = signal();
  let arrived = 0;
  return () => {
    if (++arrived === count) all.settle();
    return all.promise;
  };
}

test('ten calls that come too late share one renewal', async (t) => {
  const { url, state, asked } = await site(t, { before: { boards: gather(10) } });
  const tab = browser(url).open();
  const answers = await Promise.all(Array.from({ length: 10 }, () => tab.query(boards)));
  assert.deepEqual(answers, Array(10).fill('ada'));
  assert.equal(state.refreshes, 1);
  assert.equal(asked().length, 21);
  assert.deepEqual(tab.signedOut, []);
});

test('a refusal that arrives after the renewal does not cause another', async (t) => {
  const late = signal();
  let first = true;
  const wait = () => {
    const hold = first;
    first = false;
    return hold ? late.promise : undefined;
  };
  const { url, state } = await site(t, { before: { boards: wait } });
  const tab = browser(url).open();
  const slow = tab.query(boards);
  assert.equal(await tab.query(boards), 'ada');
  late.settle();
  assert.equal(await slow, 'ada');
  assert.equal(state.refreshes, 1);
});

test('a query that was answered as nobody is asked again as somebody', async (t) => {
  const { url, state, asked } = await site(t);
  // The access token's cookie is gone: browsers forget it when its time is over.
  const tab = browser(url, { refresh: 'refresh' }).open();
  assert.equal(await tab.query(me), 'ada');
  assert.deepEqual(asked(), ['me', '/auth/refresh', 'me']);
  assert.equal(await tab.query(me), 'ada');
  assert.equal(state.refreshes, 1);
});

test('a mutation is repeated with its own id', async (t) => {
  const { url, requests, asked } = await site(t);
  const tab = browser(url).open();
  assert.equal(await tab.mutate(rename, {}), 'ada');
  assert.deepEqual(asked(), ['rename', '/auth/refresh', 'rename']);
  const ids = requests.map(({ headers }) => headers['x-forge-mutation-id']);
  assert.ok(ids[0]);
  assert.deepEqual(ids, [ids[0], undefined, ids[0]]);
});

test('an action that was refused before it began is repeated', async (t) => {
  const { url, asked } = await site(t);
  assert.equal(await browser(url).open().action(notify, {}), 'ada');
  assert.deepEqual(asked(), ['notify', '/auth/refresh', 'notify']);
});

test('an action that began, and then refused itself, is not', async (t) => {
  const { url, asked } = await site(t, { before: { begins: 'notify' } });
  assert.equal((await rejection(browser(url).open().action(notify, {}))).code, 'UNAUTHORIZED');
  assert.deepEqual(asked(), ['notify']);
});

test('a renewal that is refused ends the session, and the page is told once', async (t) => {
  const { url, state, asked } = await site(t, { before: { boards: gather(10) } });
  state.alive = false;
  const tab = browser(url).open();
  const errors = await Promise.all(
    Array.from({ length: 10 }, () => rejection(tab.query(boards))),
  );
  assert.deepEqual(
    errors.map(({ code, status }) => [code, status]),
    Array(10).fill(['UNAUTHORIZED', 401]),
  );
  assert.equal(state.refreshes, 1);
  assert.deepEqual(tab.signedOut, ['UNAUTHORIZED']);
  // The cookies are gone: there is nothing to renew, and nothing new to tell.
  const before = asked().length;
  assert.equal((await rejection(tab.query(boards))).code, 'UNAUTHORIZED');
  assert.equal(await tab.query(me), null);
  assert.deepEqual(asked().slice(before), ['boards', 'me']);
  assert.deepEqual(tab.signedOut, ['UNAUTHORIZED']);
});

test('what is public answers although the session has ended', async (t) => {
  const { url, state, asked } = await site(t);
  state.alive = false;
  const tab = browser(url).open();
  assert.equal(await tab.query(me), null);
  assert.deepEqual(asked(), ['me', '/auth/refresh']);
  assert.deepEqual(tab.signedOut, ['UNAUTHORIZED']);
});

test('cookies that are no good at all are got rid of', async (t) => {
  let refuse = true;
  const { url } = await backend(t, ({ name }) => {
    if (name === '/auth/refresh') {
      refuse = false;
      return fail(401, 'UNAUTHORIZED');
    }
    if (!refuse) return ok('for everybody');
    return fail(401, 'UNAUTHORIZED', { headers: { 'x-forge-session': 'renew' } });
  });
  assert.equal(await browser(url).open().query(me), 'for everybody');
});

test('a visitor who never signed in has nothing to renew', async (t) => {
  const { url, state } = await site(t);
  const tab = browser(url, {}).open();
  assert.equal(await tab.query(me), null);
  assert.deepEqual(tab.signedOut, []);
  assert.equal((await rejection(tab.query(boards))).code, 'UNAUTHORIZED');
  assert.deepEqual(tab.signedOut, ['UNAUTHORIZED']);
  assert.equal(state.refreshes, 0);
});

test('a renewal that fails ends no session, and the next call tries anew', async (t) => {
  const failures = [
    [({ response }) => response.destroy() && {}, 'NETWORK_ERROR'],
    [() => fail(503, 'DATABASE_UNAVAILABLE'), 'DATABASE_UNAVAILABLE'],
    [() => ({ status: 401, body: '<h1>Authorization Required</h1>' }), 'BAD_RESPONSE'],
    [() => fail(403, 'CSRF_REFUSED'), 'CSRF_REFUSED'],
  ];
  for (const [answer, code] of failures) {
    let down = true;
    const { url, state } = await site(t, {
      before: { refresh: (request) => (down ? answer(request) : undefined) },
    });
    const tab = browser(url).open();
    for (const call of [() => tab.query(boards), () => tab.query(me), () => tab.mutate(rename, {})])
      assert.equal((await rejection(call())).code, code);
    assert.deepEqual(tab.signedOut, []);
    assert.equal(state.refreshes, 3);
    down = false;
    assert.equal(await tab.query(boards), 'ada');
  }
});

test('a call whose renewal failed is repeated like any other', async (t) => {
  let down = true;
  const refresh = ({ response }) => {
    if (!down) return undefined;
    down = false;
    response.destroy();
    return {};
  };
  const { url, requests } = await site(t, { before: { refresh } });
  assert.equal(await browser(url).open({ retries: 1 }).mutate(rename, {}), 'ada');
  const ids = requests.map(({ headers }) => headers['x-forge-mutation-id']).filter(Boolean);
  assert.deepEqual(ids, Array(3).fill(ids[0]));
});

test('a caller who gives up does not end the renewal for the others', async (t) => {
  const held = signal();
  const reached = signal();
  const { url, state } = await site(t, { before: { boards: gather(2) } });
  const { send, open } = browser(url);
  const slow = async (input, init) => {
    if (input.endsWith('/auth/refresh')) {
      reached.settle();
      await held.promise;
    }
    return send(input, init);
  };
  const tab = open({ fetch: slow });
  const controller = new AbortController();
  const given = rejection(tab.query(boards, undefined, { signal: controller.signal }));
  const other = tab.query(boards);
  await reached.promise;
  controller.abort();
  assert.equal((await given).code, 'CANCELLED');
  held.settle();
  assert.equal(await other, 'ada');
  assert.equal(state.refreshes, 1);
});

test('signing out is told, and so is the end of a session that begins later', async (t) => {
  const { url, state } = await site(t);
  const tab = browser(url, {}).open();
  assert.equal(await tab.mutate(signIn, {}, { auth: false }), 'ada');
  await tab.mutate(signOut);
  assert.deepEqual(tab.signedOut, ['UNAUTHORIZED']);
  await rejection(tab.query(boards));
  assert.deepEqual(tab.signedOut, ['UNAUTHORIZED'], 'it is known already');
  await tab.mutate(signIn, {}, { auth: false });
  assert.equal(await tab.query(boards), 'ada');
  state.alive = false;
  await rejection(tab.query(boards));
  assert.deepEqual(tab.signedOut, ['UNAUTHORIZED', 'UNAUTHORIZED']);
});

test('a refusal from before the sign-in signs nobody out', async (t) => {
  const late = signal();
  const { url } = await site(t, { before: { boards: () => late.promise } });
  const tab = browser(url, {}).open();
  const early = tab.query(boards);
  await tab.mutate(signIn, {}, { auth: false });
  late.settle();
  assert.equal(await early, 'ada');
  assert.deepEqual(tab.signedOut, []);
});

test('a mutation from before a sign-in elsewhere is not repeated as whoever that was, refused or unanswered', async (t) => {
  for (const lost of [false, true]) {
    const reached = signal();
    const held = signal();
    replace('BroadcastChannel', Channel);
    const { url, asked } = await site(t, {
      before: {
        rename: async ({ response }) => {
          reached.settle();
          await held.promise;
          if (lost) response.destroy();
        },
      },
    });
    const { open } = browser(url);
    const [here, there] = [open({ retries: 1 }), open()];
    const outbox = createOutbox();
    const early = [rejection(here.mutate(rename, {})), rejection(here.mutate(rename, {}, { outbox }))];
    const waiting = rejection(here.mutate(rename, {}, { outbox }));
    await reached.promise;
    await there.mutate(signIn, {}, { auth: false });
    held.settle();
    const codes = (await Promise.all([...early, waiting])).map(({ code }) => code);
    assert.deepEqual(codes, ['CANCELLED', 'CANCELLED', 'CANCELLED']);
    assert.deepEqual(asked(), ['rename', 'rename', 'sign_in']);
    // What is called from now on is for whoever it is now.
    assert.equal(await here.query(boards), 'ada');
  }
});

test('a mutation that was refused is repeated as nobody when its own session has ended', async (t) => {
  const { url, state, asked } = await site(t);
  state.alive = false;
  const tab = browser(url).open();
  assert.equal((await rejection(tab.mutate(rename, {}))).code, 'UNAUTHORIZED');
  assert.deepEqual(asked(), ['rename', '/auth/refresh', 'rename']);
});

test('a sign-out in another tab is told here', async (t) => {
  const { url } = await site(t);
  const { open } = browser(url, {});
  const told = signal();
  const other = open();
  open({ onSignedOut: told.settle });
  await other.mutate(signIn, {}, { auth: false });
  await other.mutate(signOut);
  assert.equal((await told.promise).code, 'UNAUTHORIZED');
});

test('a sign-out in another tab is noticed with the next call where tabs cannot talk', async (t) => {
  replace('BroadcastChannel', undefined);
  const { url } = await site(t);
  const { open } = browser(url, {});
  const [here, there] = [open(), open()];
  await there.mutate(signIn, {}, { auth: false });
  assert.equal(await here.query(boards), 'ada');
  await there.mutate(signOut);
  assert.deepEqual(here.signedOut, []);
  assert.equal((await rejection(here.query(boards))).code, 'UNAUTHORIZED');
  assert.deepEqual(here.signedOut, ['UNAUTHORIZED']);
});

test('a session that one tab renewed is not renewed by another', async (t) => {
  replace('BroadcastChannel', Channel);
  const late = signal();
  const { url, state, asked } = await site(t, { before: { rename: () => late.promise } });
  const { open } = browser(url);
  const [here, there] = [open(), open()];
  const slow = there.mutate(rename, {});
  assert.equal(await here.query(boards), 'ada');
  late.settle();
  assert.equal(await slow, 'ada');
  assert.equal(state.refreshes, 1);
  assert.deepEqual(asked().filter((name) => name === 'rename').length, 2);
});

test('two tabs take turns', async (t) => {
  replace('BroadcastChannel', Channel);
  let last = Promise.resolve();
  const request = (_name, _options, work) => (last = last.then(work));
  replace('navigator', { locks: { request } });
  const { url, state } = await site(t, { before: { boards: gather(2) } });
  const { open } = browser(url);
  const answers = await Promise.all([open().query(boards), open().query(boards)]);
  assert.deepEqual(answers, ['ada', 'ada']);
  assert.equal(state.refreshes, 1);
});

test('without news of each other, two tabs still take turns', async (t) => {
  replace('BroadcastChannel', undefined);
  let last = Promise.resolve();
  const request = (_name, _options, work) => (last = last.then(work));
  replace('navigator', { locks: { request } });
  const { url, state } = await site(t, { before: { boards: gather(2) } });
  const { open } = browser(url);
  const answers = await Promise.all([open().query(boards), open().query(boards)]);
  assert.deepEqual(answers, ['ada', 'ada']);
  assert.deepEqual([state.refreshes, state.most], [2, 1]);
});

test('a tab that hangs does not hold up the others', async (t) => {
  const request = async (_name, { signal }) => {
    assert.ok(signal instanceof AbortSignal);
    throw new DOMException('it was waited for too long', 'TimeoutError');
  };
  replace('navigator', { locks: { request } });
  const { url, state } = await site(t);
  assert.equal(await browser(url).open().query(boards), 'ada');
  assert.equal(state.refreshes, 1);
});

test('outside of a browser cookies are renewed only when that is asked for', async (t) => {
  const { url, state } = await site(t);
  const tab = browser(url).open({ cookies: undefined });
  assert.equal(await tab.query(me), null);
  assert.equal((await rejection(tab.query(boards))).code, 'UNAUTHORIZED');
  assert.equal(state.refreshes, 0);
  replace('location', new URL('https://app.example/'));
  assert.equal(await browser(url).open({ cookies: undefined }).query(me), 'ada');
  assert.equal(state.refreshes, 1);
  const others = [{ getToken: () => null }, { credentials: 'omit' }];
  for (const options of others) {
    state.access += 1;
    assert.equal(await browser(url).open({ cookies: undefined, ...options }).query(me), null);
  }
  assert.equal(state.refreshes, 1);
});
