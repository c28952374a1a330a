/** A small screen and a finger. */

import assert from 'node:assert/strict';

import { card, column, dialog, gone, holds, scenario, settled, signUp, url } from './stage.mjs';

await scenario(async (open) => {
  const ada = await open({ viewport: { width: 400, height: 760 }, hasTouch: true, isMobile: true, colorScheme: 'dark' });
  const { page } = ada;
  await signUp(ada, 'Ada Lovelace');

  /** Nothing but a board's own row of columns goes beyond the screen's side. */
  const fits = async (where) => {
    const widths = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(widths[0] <= widths[1], `${where} is ${widths[0]} pixels wide on a screen of ${widths[1]}`);
  };
  await fits('the list of boards');
  await page.getByRole('link', { name: 'Welcome board' }).tap();
  await holds(page, 'Done', ['Sign up']);
  await fits('the board');

  // Moved from its menu.
  await page.getByRole('button', { name: 'Card Invite somebody: menu' }).tap();
  await page.getByRole('menuitem', { name: 'Move to…' }).tap();
  await dialog(page).getByLabel('Column').selectOption({ label: 'Done' });
  await fits('the dialog to move a card');
  await dialog(page).getByRole('button', { name: 'Move' }).tap();
  await holds(page, 'Done', ['Sign up', 'Invite somebody']);
  await settled(page);

  // Moved with a finger that rests on it first; the finger's events are those that a touch screen makes.
  const touch = await page.context().newCDPSession(page);
  const at = async (type, x, y) =>
    touch.send('Input.dispatchTouchEvent', { type, touchPoints: type === 'touchEnd' ? [] : [{ x, y }] });
  await column(page, 'Doing').scrollIntoViewIfNeeded();
  const from = await card(page, 'Move this card to Done').boundingBox();
  await at('touchStart', from.x + 40, from.y + 20);
  // The card is lifted once the finger has rested on it.
  await page.locator('.ghost').waitFor();
  const done = column(page, 'Done');
  // Held at the right edge, the board scrolls on its own until the next column is there.
  await at('touchMove', 390, from.y + 30);
  await page.waitForFunction((name) => {
    const section = document.querySelector(`section[aria-label="${name}"]`);
    return section.getBoundingClientRect().left < innerWidth / 2;
  }, 'Done');
  const target = await done.getByRole('article').first().boundingBox();
  await at('touchMove', target.x + 60, target.y + 4);
  await at('touchEnd');
  await holds(page, 'Done', ['Move this card to Done', 'Sign up', 'Invite somebody']);
  await settled(page);

  await card(page, 'Sign up').getByRole('link').tap();
  await dialog(page).getByLabel('Description').waitFor();
  await fits('a card');
  await dialog(page).getByRole('button', { name: 'Close' }).tap();
  await gone(dialog(page));
  await page.goto(url('/sessions'));
  await page.getByText('this browser').waitFor();
  await fits('the list of sessions');
  await page.goBack();
  await page.getByRole('link', { name: /^Members/ }).tap();
  await page.getByLabel('E-mail').waitFor();
  await fits('the list of members');
});
