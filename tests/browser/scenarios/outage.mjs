/** The server goes away and comes back, and the network does: nobody has to do anything about it. */

import assert from 'node:assert/strict';

import {
  AWAY,
  addCards,
  addMember,
  card,
  column,
  eventually,
  gone,
  holds,
  makeBoard,
  offline,
  online,
  refusal,
  scenario,
  server,
  settled,
  signUp,
  url,
} from './stage.mjs';

const banner = (page) => page.getByRole('status').filter({ hasText: 'Not connected.' });

await scenario(async (open) => {
  const ada = await open({ ownNetwork: true });
  const bob = await open();
  await signUp(ada, 'Ada Lovelace');
  await signUp(bob, 'Bob Hope');
  await makeBoard(ada, 'Kitchen');
  const kitchen = new URL(ada.page.url()).pathname;
  await addCards(ada.page, 'To do', ['Eggs', 'Milk']);
  await addMember(ada, 'Bob Hope');
  await bob.page.goto(url(kitchen));
  for (const { page, expected } of [ada, bob]) {
    expected.push(AWAY);
    await holds(page, 'To do', ['Eggs', 'Milk']);
    await page.evaluate(() => (globalThis.sameVisit = true));
  }

  // Killed, and nobody is there: both are told so, calmly, and see what there was.
  await server.kill();
  for (const { page } of [ada, bob]) {
    await banner(page).waitFor();
    await banner(page).getByText(/Trying again/).waitFor();
    await holds(page, 'To do', ['Eggs', 'Milk']);
  }
  // What they do meanwhile shows, is kept, and in order.
  await card(ada.page, 'Eggs').getByRole('link').focus();
  await ada.page.keyboard.press('Shift+ArrowRight');
  await ada.page.keyboard.press('Shift+ArrowRight');
  await holds(ada.page, 'Done', ['Eggs']);
  await banner(ada.page).getByText('Your last 2 changes are kept here').waitFor();
  await addCards(bob.page, 'Doing', ['Flour']);
  await banner(bob.page).getByText('Your last change is kept here').waitFor();
  await holds(ada.page, 'Doing', []);

  // Back, on the same port: both go on, with what both have done.
  await server.start();
  for (const { page } of [ada, bob]) {
    await gone(banner(page));
    await holds(page, 'To do', ['Milk']);
    await holds(page, 'Doing', ['Flour']);
    await holds(page, 'Done', ['Eggs']);
    await settled(page);
  }

  // A deployment: told to stop, and started again.
  await server.terminate();
  await server.start();
  await addCards(bob.page, 'To do', ['Salt']);
  await holds(ada.page, 'To do', ['Milk', 'Salt']);

  // Offline is one of the two only: a train goes through a tunnel.
  await offline(ada);
  await banner(ada.page).waitFor();
  await card(ada.page, 'Milk').getByRole('link').focus();
  await ada.page.keyboard.press('Shift+ArrowRight');
  await holds(ada.page, 'Doing', ['Milk', 'Flour']);
  await banner(ada.page).getByText('Your last change is kept here').waitFor();
  await addCards(bob.page, 'Doing', ['Butter']);
  await holds(bob.page, 'Doing', ['Flour', 'Butter']);
  await online(ada);
  for (const { page } of [ada, bob]) {
    await gone(banner(page));
    await holds(page, 'Doing', ['Milk', 'Flour', 'Butter']);
    await settled(page);
  }

  // What the server refuses by then is taken back, and said. Over HTTP, if the socket is not back yet, and then the browser reports it too.
  ada.expected.push(refusal('move_card', 404));
  await offline(ada);
  await banner(ada.page).waitFor();
  await card(ada.page, 'Butter').getByRole('link').focus();
  await ada.page.keyboard.press('Shift+ArrowLeft');
  await holds(ada.page, 'Doing', ['Milk', 'Flour']);
  await card(bob.page, 'Butter').getByRole('button', { name: /menu$/ }).click();
  await bob.page.getByRole('menuitem', { name: 'Delete' }).click();
  await holds(bob.page, 'Doing', ['Milk', 'Flour']);
  await settled(bob.page);
  await online(ada);
  await ada.page.getByRole('alert').getByText('“Butter” could not be moved.').waitFor();
  await eventually(ada.page, async () => (await card(ada.page, 'Butter').count()) === 0);
  await ada.page.getByRole('button', { name: 'Dismiss' }).click();

  for (const { page } of [ada, bob]) {
    assert.equal(await page.evaluate(() => globalThis.sameVisit), true, 'nothing was loaded anew');
    await column(page, 'To do').getByRole('link', { name: 'Salt' }).waitFor();
  }
});
