import assert from 'node:assert/strict';
import { test } from 'node:test';
import { flushSync } from 'svelte';

import { createForgeClient, job, query } from '../../node_modules/.cache/forge-client/client/client.js';
import { cell, inComponent, until } from '../../node_modules/.cache/forge-client/client/reactive.svelte.js';
import { trackJob } from '../../node_modules/.cache/forge-client/client/svelte.svelte.js';
import { status, watch, wire } from '../wire.js';

const exportBoard = job('export_board');
const listCards = query('list_cards');
const JOB = '0190a8c0-0000-7000-8000-000000000001';

const standing = (id, more) => ({ type: 'job', id, job: 'export_board', attempt: 1, progress: null, message: null, ...more });

/** A client that follows a job, what it was told, and the session. */
async function begin(t, live = {}) {
  const server = await wire(t);
  const client = createForgeClient({ url: server.url, live: { linger: 10, retryDelay: 10, ...live } });
  t.after(() => client.connection.close());
  const told = [];
  const waiters = new Set();
  const tracker = client.trackJob(exportBoard, JOB, (now) => {
    told.push(now);
    for (const waiter of [...waiters]) waiter();
  });
  const follows = (condition) =>
    new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`never ${condition}: ${JSON.stringify(tracker.current)}`)), 5000);
      const look = () => {
        if (!condition(tracker.current)) return;
        clearTimeout(late);
        waiters.delete(look);
        resolve(tracker.current);
      };
      waiters.add(look);
      look();
    });
  const session = await server.session();
  const asked = await session.next('subscribeJob');
  return { server, client, tracker, told, follows, session, asked };
}

test('a job is followed until it has ended, and asked for no more', async (t) => {
  const { server, client, follows, told, session, asked } = await begin(t);
  assert.deepEqual(asked, { type: 'subscribeJob', id: asked.id, jobId: JOB });
  session.send(standing(asked.id, { status: 'pending', attempt: 0 }));
  session.send(standing(asked.id, { status: 'running', progress: 40, message: 'half of it' }));
  const running = await follows((now) => now.status === 'running');
  assert.deepEqual([running.progress, running.message, running.done, running.stale], [40, 'half of it', false, false]);
  session.send(standing(asked.id, { status: 'completed', progress: 100, output: { fileName: 'plans.csv' } }));
  const done = await follows((now) => now.done);
  assert.deepEqual([done.status, done.progress, done.output, done.error], ['completed', 100, { fileName: 'plans.csv' }, undefined]);
  assert.equal(told.length, 3);
  // A connection that is lost now has nothing to ask for again, but what else there is.
  const cards = watch(client, listCards, {});
  await session.next('subscribe');
  session.cut();
  const second = await server.session();
  await second.next('subscribe');
  assert.equal(second.waiting, 0);
  cards.stop();
});

test('it fails: why is told, and tried again is no end', async (t) => {
  const { follows, session, asked } = await begin(t);
  const error = { code: 'IT_FAILED', message: 'not yet', details: { a: 1 } };
  session.send(standing(asked.id, { status: 'retry', error }));
  const again = await follows((now) => now.status === 'retry');
  assert.deepEqual([again.error.code, again.error.details, again.done], ['IT_FAILED', { a: 1 }, false]);
  session.send(standing(asked.id, { status: 'running', attempt: 2 }));
  assert.equal((await follows((now) => now.attempt === 2)).error, undefined);
  session.send(standing(asked.id, { status: 'dead_letter', attempt: 2, error }));
  const over = await follows((now) => now.done);
  assert.deepEqual([over.status, over.error.message, over.output], ['dead_letter', 'not yet', undefined]);
});

test('after an interruption it is asked for again, and is stale meanwhile', async (t) => {
  const { server, client, follows, session, asked } = await begin(t);
  session.send(standing(asked.id, { status: 'running', progress: 10 }));
  await follows((now) => now.progress === 10);
  session.cut();
  await follows((now) => now.stale && now.progress === 10);
  const second = await server.session();
  const { id, jobId } = await second.next('subscribeJob');
  assert.equal(jobId, JOB);
  assert.notEqual(id, asked.id);
  second.send(standing(id, { status: 'running', progress: 30 }));
  assert.equal((await follows((now) => now.progress === 30)).stale, false);
  await status(client, 'open');
});

test('one that is not there, or somebody else\'s, ends with an error; one of another kind as well', async (t) => {
  const { client, follows, session, asked } = await begin(t);
  session.send({ type: 'error', id: asked.id, code: 'NOT_FOUND', message: 'there is no such job', status: 404 });
  const none = await follows((now) => now.done);
  assert.deepEqual([none.error.code, none.status], ['NOT_FOUND', undefined]);
  const seen = [];
  client.trackJob(job('other'), JOB, (now) => seen.push(now));
  const other = await session.next('subscribeJob');
  session.send(standing(other.id, { status: 'running' }));
  assert.equal((await session.next('unsubscribe')).id, other.id);
  assert.deepEqual([seen.at(-1).error.code, seen.at(-1).done], ['CLIENT_ERROR', true]);
});

test('two who follow the same job share a subscription, and the last who leaves ends it', async (t) => {
  const { client, tracker, follows, session, asked } = await begin(t);
  session.send(standing(asked.id, { status: 'running', progress: 5 }));
  await follows((now) => now.progress === 5);
  const seen = [];
  const second = client.trackJob(exportBoard, JOB, (now) => seen.push(now.progress));
  assert.deepEqual(seen, [5]);
  tracker.stop();
  second.stop();
  assert.deepEqual(await session.next('unsubscribe'), { type: 'unsubscribe', id: asked.id });
  assert.equal(session.waiting, 0);
  await session.ended;
});

test('what was told is not shown to whoever signs in next', async (t) => {
  const { server, client, follows, session, asked } = await begin(t);
  session.send(standing(asked.id, { status: 'completed', output: 'a secret' }));
  await follows((now) => now.done);
  client.connection.restart();
  const now = await follows((now) => !now.done);
  assert.deepEqual([now.output, now.status], [undefined, undefined]);
  const second = await server.session();
  const { id } = await second.next('subscribeJob');
  second.send({ type: 'error', id, code: 'NOT_FOUND', message: 'there is no such job', status: 404 });
  assert.equal((await follows((now) => now.done)).output, undefined);
});

test('in a component it follows the job of the moment, and ends with it', async (t) => {
  const server = await wire(t);
  const client = createForgeClient({ url: server.url, live: { linger: 10 } });
  t.after(() => client.connection.close());
  const id = cell(null);
  let tracked;
  const close = inComponent(() => (tracked = trackJob(exportBoard, () => id.value, { client })));
  t.after(close);
  flushSync();
  assert.deepEqual([tracked.status, tracked.done, client.connection.status], [undefined, false, 'closed']);
  id.value = JOB;
  flushSync();
  const session = await server.session();
  const first = await session.next('subscribeJob');
  session.send(standing(first.id, { status: 'running', progress: 60, message: 'nearly' }));
  await until(() => tracked.progress === 60);
  assert.deepEqual([tracked.status, tracked.message, tracked.attempt, tracked.stale], ['running', 'nearly', 1, false]);
  session.send(standing(first.id, { status: 'completed', progress: 100, output: 'file' }));
  await until(() => tracked.done);
  assert.deepEqual([tracked.output, tracked.error], ['file', undefined]);
  // Another job begins from nothing.
  id.value = JOB.replace('1', '2');
  flushSync();
  assert.deepEqual([tracked.output, tracked.done], [undefined, false]);
  const second = await session.next('subscribeJob');
  assert.notEqual(second.jobId, first.jobId);
  close();
  assert.equal((await session.next('unsubscribe')).id, second.id);
});
