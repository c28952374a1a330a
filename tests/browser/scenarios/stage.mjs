/** What every scenario needs: a browser, people, and a record of what went wrong. */

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { basename, join } from 'node:path';

import { chromium } from 'playwright-core';

const { BOARD_URL, BROWSER, ARTIFACTS } = process.env;
if (!BOARD_URL || !BROWSER || !ARTIFACTS) throw new Error('started by `cargo test -p whole-system`');

/** How long anything may take to appear, in milliseconds. */
const PATIENCE = 15_000;

/** The calls of each page that are not answered yet. */
const underWay = new WeakMap();

export const url = (path = '/') => BOARD_URL + path;

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
  const open = async (options = {}) => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    context.setDefaultTimeout(PATIENCE);
    const page = await context.newPage();
    const visitor = { page, errors: [], expected: [] };
    visitors.push(visitor);
    const requests = new Set();
    underWay.set(page, requests);
    page.on('request', (request) => requests.add(request));
    page.on('requestfinished', (request) => requests.delete(request));
    page.on('requestfailed', (request) => requests.delete(request));
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
    await browser.close();
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
