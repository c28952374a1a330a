import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Again } from '../../node_modules/.cache/forge-client/client/again.js';
import {
  createForgeClient,
  ForgeError,
  job,
  query,
} from '../../node_modules/.cache/forge-client/client/client.js';
import { watch, wire } from '../wire.js';

const JOB = '0190a8c0-0000-7000-8000-000000000001';
const timeout = new ForgeError('TIMEOUT', 'too slow', { status: 504 });

async function begin(t) {
  const server = await wire(t);
  const client = createForgeClient({ url: server.url });
  t.after(() => client.connection.close());
  return { server, client };
}

test('pauses grow with each failure in a row, and are somewhere between once and twice as long', (t) => {
  const timers = t.mock.method(globalThis, 'setTimeout', () => undefined);
  const pauses = () => {
    const all = timers.mock.calls.map(({ arguments: [, pause] }) => pause);
    timers.mock.resetCalls();
    return all;
  };
  const random = t.mock.method(Math, 'random', () => 0);
  const again = new Again();
  for (let n = 0; n < 7; n++) assert.ok(again.after(timeout, () => {}));
  assert.deepEqual(pauses(), [1, 2, 4, 8, 16, 30, 30].map((seconds) => seconds * 1000));
  again.over();
  random.mock.mockImplementation(() => 0.5);
  again.after(timeout, () => {});
  again.after(new ForgeError('RATE_LIMITED', 'slower', { retryAfter: 60 }), () => {});
  assert.deepEqual(pauses(), [1500, 90_000]);
});

test('what another attempt cannot help is left, and so is what was to be asked again before', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const again = new Again();
  const asked = [];
  again.after(timeout, () => asked.push('early'));
  for (const code of ['FORBIDDEN', 'NOT_LIVE', 'INTERNAL_ERROR', 'RATE_LIMITED'])
    assert.ok(!again.after(new ForgeError(code, code), () => asked.push(code)), code);
  t.mock.timers.tick(100_000);
  for (const code of ['DATABASE_UNAVAILABLE', 'OUTCOME_UNKNOWN', 'NETWORK_ERROR'])
    assert.ok(again.after(new ForgeError(code, code), () => asked.push(code)), code);
  t.mock.timers.tick(100_000);
  assert.deepEqual(asked, ['NETWORK_ERROR']);
});

test('a live query that failed in passing is asked again until it goes well', async (t) => {
  const { server, client } = await begin(t);
  const cards = watch(client, query('list_cards'), {});
  const session = await server.session();
  const first = await session.next('subscribe');
  session.frame([{ id: first.id, version: '1', data: 'before' }]);
  await cards.until((now) => now.data);
  let { id } = first;
  for (const [code, status] of [['TIMEOUT', 504], ['DATABASE_UNAVAILABLE', 503]]) {
    session.send({ type: 'error', id, code, message: 'for now', status, retryAfter: 0.01 });
    const now = await cards.until(({ error }) => error?.code === code);
    assert.deepEqual([now.data, now.stale], ['before', true]);
    const next = await session.next('subscribe');
    assert.equal(next.version, '1');
    assert.notEqual(next.id, id);
    id = next.id;
  }
  session.frame([{ id, version: '2', data: 'after' }]);
  const well = await cards.until((now) => now.data === 'after');
  assert.deepEqual([well.error, well.stale], [undefined, false]);
});

test('so is a presence, with the query that it is at', async (t) => {
  const { server, client } = await begin(t);
  client.presence(query('get_board'), {}, 'here', () => {});
  const session = await server.session();
  const [asked, here] = [await session.next('subscribe'), await session.next('presence')];
  const away = { type: 'error', code: 'DATABASE_UNAVAILABLE', message: 'away', status: 503, retryAfter: 0.01 };
  session.send({ ...away, id: asked.id });
  session.send({ ...away, id: here.id });
  await session.next('unsubscribe');
  const again = await session.next('subscribe');
  assert.equal((await session.next('presence')).of, again.id);
});

test('so is a job, which is not over', async (t) => {
  const { server, client } = await begin(t);
  const seen = [];
  const tracker = client.trackJob(job('export_board'), JOB, (now) => seen.push([now.error?.code, now.done]));
  const session = await server.session();
  const { id } = await session.next('subscribeJob');
  session.send({ type: 'error', id, code: 'TIMEOUT', message: 'too slow', status: 504, retryAfter: 0.01 });
  const again = await session.next('subscribeJob');
  assert.deepEqual(seen, [['TIMEOUT', false]]);
  session.send({ type: 'job', id: again.id, job: 'export_board', status: 'running', attempt: 1 });
  while (seen.length < 2) await new Promise(setImmediate);
  assert.deepEqual([tracker.current.status, tracker.current.error], ['running', undefined]);
});
