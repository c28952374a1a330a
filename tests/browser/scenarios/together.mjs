/** Two people on one board at the same time: what one does, the other sees without doing anything. */

import assert from 'node:assert/strict';

import {
  addCards,
  addMember,
  card,
  column,
  dialog,
  drag,
  eventually,
  gone,
  holds,
  makeBoard,
  scenario,
  settled,
  signUp,
} from './stage.mjs';

/** From now on, notes every arrangement of cards that the page shows. */
function watchArrangements(page) {
  return page.evaluate(() => {
    const look = () =>
      [...document.querySelectorAll('section[data-column]')]
        .map((section) => [...section.querySelectorAll('[data-card] a')].map((link) => link.textContent.trim()).join(','))
        .join(' | ');
    globalThis.arrangements = [look()];
    const note = () => {
      const now = look();
      if (now !== globalThis.arrangements.at(-1)) globalThis.arrangements.push(now);
    };
    new MutationObserver(note).observe(document.querySelector('.columns'), { childList: true, subtree: true, characterData: true });
  });
}

const arrangements = (page) => page.evaluate(() => globalThis.arrangements);

await scenario(async (open) => {
  const ada = await open();
  const bob = await open();
  await signUp(ada, 'Ada Lovelace');
  await signUp(bob, 'Bob Hope');
  await makeBoard(ada, 'Kitchen');
  const kitchen = ada.page.url();

  // Invited, Bob sees the board in his list without having asked again.
  assert.equal(await bob.page.getByRole('link', { name: /Kitchen/ }).count(), 0);
  await addMember(ada, 'Bob Hope');
  await bob.page.getByRole('link', { name: /Kitchen/ }).click();
  for (const { page } of [ada, bob]) {
    await page.getByRole('heading', { name: 'Kitchen' }).waitFor();
    // Gone when the page is loaded anew.
    await page.evaluate(() => (globalThis.sameVisit = true));
  }

  // Cards appear there as they are added here.
  await addCards(ada.page, 'To do', ['Eggs', 'Milk', 'Bread', 'Salt']);
  await holds(bob.page, 'To do', ['Eggs', 'Milk', 'Bread', 'Salt']);

  // Moved with the mouse here, and with the keyboard there. Nobody ever sees anything but the states between the moves.
  await watchArrangements(ada.page);
  await watchArrangements(bob.page);
  await drag(ada.page, 'Bread', card(ada.page, 'Eggs'));
  await holds(bob.page, 'To do', ['Bread', 'Eggs', 'Milk', 'Salt']);
  await card(bob.page, 'Milk').getByRole('link').focus();
  await bob.page.keyboard.press('Shift+ArrowRight');
  await holds(ada.page, 'Doing', ['Milk']);
  await bob.page.keyboard.press('Shift+ArrowRight');
  await holds(ada.page, 'Done', ['Milk']);
  for (const { page } of [ada, bob]) {
    await settled(page);
    assert.deepEqual(await arrangements(page), [
      'Eggs,Milk,Bread,Salt |  | ',
      'Bread,Eggs,Milk,Salt |  | ',
      'Bread,Eggs,Salt | Milk | ',
      'Bread,Eggs,Salt |  | Milk',
    ]);
  }

  // Many moves in one go end where they were made, in both windows.
  await card(ada.page, 'Salt').getByRole('link').focus();
  for (const key of ['Up', 'Up', 'Right', 'Right', 'Left', 'Left', 'Down', 'Right'])
    await ada.page.keyboard.press(`Shift+Arrow${key}`);
  for (const { page } of [ada, bob]) {
    await holds(page, 'To do', ['Bread', 'Eggs']);
    await holds(page, 'Doing', ['Salt']);
    await settled(page);
  }
  const shown = await arrangements(ada.page);
  for (const state of shown) {
    const cards = state.split(/ \| |,/).filter((title) => title.trim() !== '');
    assert.deepEqual(cards.sort(), ['Bread', 'Eggs', 'Milk', 'Salt'], `no card is twice or nowhere: ${state}`);
  }
  assert.equal(shown.at(-1), 'Bread,Eggs | Salt | Milk');

  // A card that both have open: what one saves shows in the other's form, but never in place of what is being written.
  await card(ada.page, 'Eggs').getByRole('link').click();
  await card(bob.page, 'Eggs').getByRole('link').click();
  await dialog(bob.page).getByLabel('Title').fill('Six eggs');
  await dialog(ada.page).getByLabel('Title').fill('Ten eggs');
  await dialog(ada.page).getByLabel('Priority').selectOption('high');
  await dialog(ada.page).getByRole('button', { name: 'Save' }).click();
  await dialog(bob.page).getByText('Somebody else has changed the title meanwhile').waitFor();
  assert.equal(await dialog(bob.page).getByLabel('Title').inputValue(), 'Six eggs');
  assert.equal(await dialog(bob.page).getByLabel('Priority').inputValue(), 'high');
  await dialog(bob.page).getByRole('button', { name: 'Take theirs' }).click();
  assert.equal(await dialog(bob.page).getByLabel('Title').inputValue(), 'Ten eggs');

  // Comments, in order, and counted on the card.
  await dialog(ada.page).getByLabel('New comment').fill('The brown ones?');
  await dialog(ada.page).getByRole('button', { name: 'Comment', exact: true }).click();
  await dialog(bob.page).getByText('The brown ones?').waitFor();
  await dialog(bob.page).getByLabel('New comment').fill('The white ones.');
  await dialog(bob.page).getByRole('button', { name: 'Comment', exact: true }).click();
  const texts = dialog(ada.page).locator('section li p.text');
  await eventually(ada.page, async () => (await texts.allInnerTexts()).join() === 'The white ones.,The brown ones?');
  await dialog(ada.page).getByRole('button', { name: 'Close' }).click();
  await gone(dialog(ada.page));
  await card(ada.page, 'Ten eggs').getByText('2', { exact: false }).first().waitFor();

  // A card that goes while somebody has it open.
  await card(ada.page, 'Ten eggs').getByRole('button', { name: /menu$/ }).click();
  await ada.page.getByRole('menuitem', { name: 'Delete' }).click();
  await dialog(bob.page).getByText('There is no such card; it may have been deleted.').waitFor();
  await dialog(bob.page).getByRole('button', { name: 'Close' }).click();
  await holds(bob.page, 'To do', ['Bread']);

  // Columns and names.
  await bob.page.getByRole('button', { name: 'Add a column' }).click();
  await bob.page.getByLabel('Name of a new column').fill('Waiting');
  await bob.page.getByLabel('Name of a new column').press('Enter');
  await column(ada.page, 'Waiting').waitFor();
  await ada.page.getByRole('button', { name: 'Board menu' }).click();
  await ada.page.getByRole('menuitem', { name: 'Rename or delete…' }).click();
  await dialog(ada.page).getByLabel('Name').fill('Larder');
  await dialog(ada.page).getByRole('button', { name: 'Save' }).click();
  await bob.page.getByRole('heading', { name: 'Larder' }).waitFor();

  // Removed, Bob sees nothing of it any more, at once.
  const other = await ada.page.context().newPage();
  await other.goto(`${kitchen}/members`);
  await other.getByRole('listitem').filter({ hasText: 'Bob Hope' }).getByRole('button', { name: 'Remove' }).click();
  await other.getByRole('button', { name: 'Really remove?' }).click();
  await bob.page.getByText('You are not a member of this board.').waitFor();
  assert.equal(await bob.page.getByRole('article').count(), 0);
  assert.equal(await bob.page.getByRole('heading', { name: 'Larder' }).count(), 0);

  for (const { page } of [ada, bob]) assert.equal(await page.evaluate(() => globalThis.sameVisit), true);
});
