/** What is done later: an export with its progress, a reminder by mail, the digest's settings. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';

import {
  addCards,
  card,
  dialog,
  eventually,
  gone,
  makeBoard,
  scenario,
  settled,
  signUp,
  url,
} from './stage.mjs';

await scenario(async (open) => {
  const ada = await open({ timezoneId: 'Asia/Colombo' });
  const { page } = ada;
  /** What the server tells of jobs. */
  const told = [];
  page.on('websocket', (socket) =>
    socket.on('framereceived', ({ payload }) => {
      const message = JSON.parse(String(payload));
      if (message.type === 'job') told.push(message);
    }),
  );
  await signUp(ada, 'Ada Lovelace');
  await makeBoard(ada, 'Kitchen & co');
  await addCards(page, 'To do', ['Milk, "fresh"', 'Eggs']);

  // A board becomes a file, and the page shows how far it is.
  await page.getByRole('button', { name: 'Board menu' }).click();
  await page.getByRole('menuitem', { name: 'Export…' }).click();
  const exporting = dialog(page);
  await exporting.getByRole('progressbar', { name: 'Export' }).waitFor();
  const link = exporting.getByRole('link', { name: 'Download Kitchen-co.csv' });
  await link.waitFor();
  assert.equal(await exporting.getByRole('progressbar').getAttribute('value'), '100');
  await exporting.getByText('2 cards').waitFor();
  assert.equal(told.at(-1).status, 'completed');
  const [download] = await Promise.all([page.waitForEvent('download'), link.click()]);
  assert.equal(download.suggestedFilename(), 'Kitchen-co.csv');
  const content = await readFile(await download.path(), 'utf8');
  assert.match(content, /^\ufeffColumn,Title,.*\r\n"To do","Milk, ""fresh""",.*\r\n"To do","Eggs",/);
  await page.keyboard.press('Escape');
  await gone(exporting);

  // A card that is due in some seconds: the mail is there then, and says which card.
  await card(page, 'Eggs').getByRole('link').click();
  const editing = dialog(page);
  const soon = await page.evaluate(() => {
    const then = new Date(Date.now() + 4_000);
    // A whole minute would be written without its seconds.
    if (then.getSeconds() === 0) then.setSeconds(1);
    return new Date(then.getTime() - then.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
  });
  await editing.getByLabel('Due').fill(soon);
  await editing.getByLabel('Assigned to').selectOption({ label: 'Ada Lovelace' });
  await editing.getByRole('button', { name: 'Save' }).click();
  await editing.getByText('Saved.').waitFor();
  await page.keyboard.press('Escape');
  await gone(editing);
  const inbox = await page.context().newPage();
  await inbox.goto(url('/_forge/mail'));
  // The list looks again by itself.
  await inbox.getByRole('link', { name: 'Due now: Eggs' }).click();
  await inbox.getByText('“Eggs” on the board “Kitchen & co” is due now.').waitFor();
  assert.match(await inbox.locator('dl').innerText(), /Ada Lovelace <ada\.lovelace@example\.org>/);
  await inbox.close();

  // The digest: off until it is wanted, on the clock of where one is.
  await page.getByRole('button', { name: 'Account of Ada Lovelace' }).click();
  await page.getByRole('menuitem', { name: 'Daily digest' }).click();
  const wanted = page.getByLabel('Send me a daily digest');
  assert.equal(await wanted.isChecked(), false);
  await page.getByLabel('Time zone').waitFor();
  assert.equal(await page.getByLabel('Time zone').inputValue(), 'Asia/Colombo');
  await wanted.check();
  await page.getByLabel('Time zone').selectOption('Europe/Berlin');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('Saved.').waitFor();
  await settled(page);
  await page.reload();
  await eventually(page, () => wanted.isChecked());
  assert.equal(await page.getByLabel('Time zone').inputValue(), 'Europe/Berlin');
});
