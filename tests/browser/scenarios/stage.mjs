/** What every scenario needs: a browser, people, and a record of what went wrong. */

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { createServer, request as send } from 'node:http';
import { connect } from 'node:net';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';

import { chromium } from 'playwright-core';

const { BOARD_URL, BROWSER, ARTIFACTS } = process.env;
if (!BOARD_URL || !BROWSER || !ARTIFACTS) throw new Error('started by `cargo test -p whole-system`');

/** How long anything may take to appear, in milliseconds. */
const PATIENCE = 15_000;

/** The calls of each page that are not answered yet. */
const underWay = new WeakMap();

const answers = createInterface({ input: process.stdin });
// Only waited for when something was ordered.
process.stdin.unref?.();

/** Has something done to the board's process: see `src/scenario.rs`. */
function order(what) {
  return new Promise((resolve, reject) => {
    answers.once('line', resolve);
    answers.once('close', () => reject(new Error(`nobody answered to ${what}`)));
    console.log(`board: ${what}`);
  });
}

/** The board's process. */
export const server = {
  /** Kills it, as when its machine loses power. */
  kill: () => order('kill'),
  /** Stops it, as a deployment does. */
  terminate: () => order('terminate'),
  /** Starts it again, on the same port, with the same data. */
  start: () => order('start'),
};

/** What the browser reports of its own accord while the server is away, or not ready yet. */
export const AWAY = /ERR_|WebSocket connection to|status of 503/;

export const url = (path = '/') => BOARD_URL + path;

/** The network of one visitor, which can be cut: the browser's own way to be offline leaves WebSockets as they are. */
async function network({ tunnels }) {
  const sockets = new Set();
  let cut = false;
  const keep = (socket) => {
    if (sockets.has(socket)) return;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
  };
  const proxy = createServer((incoming, outgoing) => {
    const { method, headers, url: to } = incoming;
    const onward = send(to, { method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.pipe(outgoing);
      // What breaks off there breaks off here.
      answer.on('close', () => answer.complete || outgoing.destroy());
    });
    onward.on('error', () => outgoing.destroy());
    onward.on('socket', keep);
    incoming.pipe(onward);
  });
  proxy.on('connection', (socket) => (cut ? socket.destroy() : keep(socket)));
  proxy.on('connect', ({ url: to }, socket) => {
    // As proxies do that let pages through and nothing else: a WebSocket needs a tunnel.
    if (!tunnels) return void socket.end('HTTP/1.1 405 Method Not Allowed\r\n\r\n');
    const onward = connect(to.split(':')[1], to.split(':')[0], () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      onward.pipe(socket).pipe(onward);
    });
    onward.on('error', () => socket.destroy());
    keep(onward);
  });
  await new Promise((listening) => proxy.listen(0, '127.0.0.1', listening));
  return {
    address: `http://127.0.0.1:${proxy.address().port}`,
    cut() {
      cut = true;
      for (const socket of sockets) socket.destroy();
    },
    mend: () => (cut = false),
    close() {
      for (const socket of sockets) socket.destroy();
      proxy.close();
    },
  };
}

/** Cuts a visitor's network, who was opened with one of their own, and tells the browser so; and the other way round. */
export async function offline({ page, network }) {
  network.cut();
  await page.context().setOffline(true);
}

export async function online({ page, network }) {
  network.mend();
  await page.context().setOffline(false);
}

/** Runs a scenario. `open` gives a page of a new visitor, who has no cookies. */
export async function scenario(play) {
  const name = basename(process.argv[1], '.mjs');
  const browser = await chromium.launch({
    executablePath: BROWSER,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
  const visitors = [];
  const open = async ({ ownNetwork = false, noSockets = false, ...options } = {}) => {
    const own = ownNetwork || noSockets ? await network({ tunnels: !noSockets }) : undefined;
    const context = await browser.newContext({
      viewport: { width: 1280, height: 800 },
      ...(own ? { proxy: { server: own.address } } : {}),
      ...options,
    });
    context.setDefaultTimeout(PATIENCE);
    const page = await context.newPage();
    const visitor = { page, errors: [], expected: [], network: own };
    visitors.push(visitor);
    const requests = new Set();
    underWay.set(page, requests);
    page.on('request', (request) => {
      // A stream of events goes on and on.
      if (!request.url().endsWith('/events')) requests.add(request);
    });
    page.on('requestfinished', (request) => requests.delete(request));
    page.on('requestfailed', (request) => requests.delete(request));
    page.on('websocket', (socket) => {
      const calls = new Map();
      const read = ({ payload }) => JSON.parse(String(payload));
      socket.on('framesent', (frame) => {
        const { type, id, function: name } = read(frame);
        if (type !== 'call') return;
        calls.set(id, { url: () => name });
        requests.add(calls.get(id));
      });
      socket.on('framereceived', (frame) => {
        const { type, id } = read(frame);
        if (type === 'reply') requests.delete(calls.get(id));
      });
      socket.on('close', () => calls.forEach((call) => requests.delete(call)));
    });
    page.on('pageerror', (error) => visitor.errors.push(error.stack ?? String(error)));
    page.on('console', (message) => {
      if (message.type() !== 'error' && message.type() !== 'warning') return;
      const text = `${message.text()} ${message.location().url}`;
      // The browser reports refused calls by itself; those that a scenario provokes are not mistakes of the page.
      if (!visitor.expected.some((part) => part.test(text))) visitor.errors.push(text);
    });
    return visitor;
  };
  try {
    await play(open);
    for (const { errors } of visitors) assert.deepEqual(errors, [], 'the console has errors');
  } catch (failure) {
    await mkdir(ARTIFACTS, { recursive: true });
    for (const [n, { page, errors }] of visitors.entries()) {
      await page.screenshot({ path: join(ARTIFACTS, `${name}-${n}.png`) }).catch(() => {});
      if (errors.length > 0) console.error(`console of visitor ${n}:`, errors);
      console.error(`visitor ${n} is at ${page.url()}`);
    }
    console.error(failure);
    process.exitCode = 1;
  } finally {
    answers.close();
    await browser.close();
    for (const { network } of visitors) network?.close();
  }
}

/** The browser's own report of a call that was refused. */
export const refusal = (call, status) => new RegExp(`status of ${status} .*/${call}$`);

export async function signUp({ page }, name) {
  await page.goto(url());
  await page.getByRole('button', { name: 'Sign up' }).click();
  await page.getByLabel('Name').fill(name);
  await page.getByLabel('E-mail').fill(emailOf(name));
  await page.getByLabel('Password').fill('a good sentence');
  await page.getByRole('button', { name: 'Sign up', exact: true }).click();
  await page.getByRole('link', { name: 'Welcome board' }).waitFor();
}

export async function signIn({ page }, name) {
  await page.getByLabel('E-mail').fill(emailOf(name));
  await page.getByLabel('Password').fill('a good sentence');
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
}

export const emailOf = (name) => `${name.toLowerCase().replaceAll(' ', '.')}@example.org`;

export const column = (page, name) => page.getByRole('region', { name, exact: true });

/** A card, anywhere on a page or in one column. */
export function card(place, title) {
  const page = 'page' in place ? place.page() : place;
  return place.getByRole('article').filter({ has: page.getByRole('link', { name: title, exact: true }) });
}

/** Asks again, each time the page has drawn itself anew, until the answer is yes. */
export async function eventually(page, ask, otherwise = () => 'it never came to be') {
  const deadline = Date.now() + PATIENCE;
  while (!(await ask())) {
    if (Date.now() > deadline) assert.fail(otherwise());
    await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(resolve)));
  }
}

/** Waits until a column holds just these cards, from top to bottom. */
export async function holds(page, name, titles) {
  const links = column(page, name).getByRole('article').getByRole('link');
  let now;
  const right = async () => {
    now = (await links.allInnerTexts()).map((text) => text.trim());
    return JSON.stringify(now) === JSON.stringify(titles);
  };
  await eventually(page, right, () => `the column ${name} holds ${now.join(', ')}, and not ${titles.join(', ')}`);
}

/** Waits until the page has no call under way, and begins none in response to the last answer. */
export async function settled(page) {
  let calm = 0;
  const quiet = () => {
    calm = underWay.get(page).size === 0 ? calm + 1 : 0;
    return calm === 3;
  };
  const calls = () => [...underWay.get(page)].map((request) => request.url()).join(', ');
  await eventually(page, quiet, () => `these calls are still under way: ${calls()}`);
}

export async function addCards(page, name, titles) {
  const place = column(page, name);
  await place.getByRole('button', { name: 'Add a card' }).click();
  for (const title of titles) {
    const line = place.getByLabel(`Title of a new card in ${name}`);
    await line.fill(title);
    await line.press('Enter');
    await place.getByRole('link', { name: title, exact: true }).waitFor();
  }
  await place.getByRole('button', { name: 'Done', exact: true }).click();
}

/** From the list of boards: makes one, and leaves its page open. */
export async function makeBoard({ page }, name) {
  await page.getByLabel('New board').fill(name);
  await page.getByRole('button', { name: 'Create' }).click();
  await page.getByRole('heading', { name }).waitFor();
}

/** From a board's page and back: makes somebody else its member. */
export async function addMember({ page }, name) {
  await page.getByRole('link', { name: /^Members/ }).click();
  await page.getByLabel('E-mail').fill(emailOf(name));
  await page.getByRole('button', { name: 'Add' }).click();
  await page.getByLabel(`Role of ${name}`).waitFor();
  await page.getByRole('link', { name: 'Back to the board' }).click();
}

/** Drags a card with the mouse, to the upper edge of another card or to the free end of a column. */
export async function drag(page, title, to) {
  const from = await card(page, title).boundingBox();
  const target = await to.boundingBox();
  await page.mouse.move(from.x + 30, from.y + 12);
  await page.mouse.down();
  await page.mouse.move(from.x + 45, from.y + 20);
  await page.mouse.move(target.x + 60, target.y + 6, { steps: 8 });
  await page.mouse.up();
}

export const dialog = (page) => page.getByRole('dialog');

export const gone = (locator) => locator.waitFor({ state: 'detached' });
