/** One person: an account, a board, columns, cards; all of it there after a reload. */

import assert from 'node:assert/strict';

import {
  addCards,
  card,
  column,
  dialog,
  drag,
  gone,
  holds,
  makeBoard,
  refusal,
  scenario,
  settled,
  signUp,
  url,
} from './stage.mjs';

await scenario(async (open) => {
  const ada = await open();
  const { page } = ada;

  // What is wrong is said beside the field.
  ada.expected.push(refusal('sign_up', 400));
  await page.goto(url());
  await page.getByRole('button', { name: 'Sign up' }).click();
  await page.getByRole('button', { name: 'Sign up', exact: true }).click();
  await page.getByText('E-mail must be an e-mail address').waitFor();
  assert.equal(await page.getByLabel('E-mail').getAttribute('aria-invalid'), 'true');

  await signUp(ada, 'Ada Lovelace');

  // A board with a column of its own, limited to two cards.
  await makeBoard(ada, 'Kitchen');
  const address = page.url();
  await page.getByRole('button', { name: 'Add a column' }).click();
  await page.getByLabel('Name of a new column').fill('Waiting');
  await page.getByLabel('Name of a new column').press('Enter');
  await column(page, 'Waiting').getByRole('button', { name: 'Column Waiting: menu' }).click();
  await page.getByRole('menuitem', { name: 'Name and limit…' }).click();
  await dialog(page).getByLabel('Limit').fill('2');
  await dialog(page).getByRole('button', { name: 'Save' }).click();
  await gone(dialog(page));

  // Cards, moved with the mouse.
  await addCards(page, 'To do', ['Eggs', 'Milk', 'Bread']);
  await holds(page, 'To do', ['Eggs', 'Milk', 'Bread']);
  await drag(page, 'Bread', card(page, 'Eggs'));
  await holds(page, 'To do', ['Bread', 'Eggs', 'Milk']);
  await drag(page, 'Eggs', column(page, 'Waiting').getByText('Nothing here yet'));
  await holds(page, 'Waiting', ['Eggs']);
  await settled(page);

  // Moved with the keyboard: arrow keys, and the menu.
  await card(page, 'Milk').getByRole('link').focus();
  await page.keyboard.press('Shift+ArrowUp');
  await holds(page, 'To do', ['Milk', 'Bread']);
  await page.keyboard.press('Shift+ArrowRight');
  await holds(page, 'Doing', ['Milk']);
  await page.getByText('Milk: Doing, 1 of 1.').waitFor({ state: 'attached' });
  assert.equal(await page.evaluate(() => document.activeElement.textContent.trim()), 'Milk', 'the card keeps the focus');

  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await page.getByRole('menuitem', { name: 'Open' }).waitFor();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await dialog(page).getByLabel('Column').selectOption({ label: 'Waiting' });
  await dialog(page).getByLabel('Place').selectOption({ label: 'Above “Eggs”' });
  await dialog(page).getByRole('button', { name: 'Move' }).press('Enter');
  await holds(page, 'Waiting', ['Milk', 'Eggs']);
  await settled(page);

  // A full column takes no more, and what was shown is taken back.
  ada.expected.push(refusal('move_card', 409));
  await column(page, 'Waiting').getByText('This column is full').waitFor();
  await drag(page, 'Bread', card(page, 'Eggs'));
  await page.getByRole('alert').getByText('This column holds 2 cards at most.').waitFor();
  await holds(page, 'To do', ['Bread']);
  await holds(page, 'Waiting', ['Milk', 'Eggs']);
  await page.getByRole('button', { name: 'Dismiss' }).click();

  // A card in full.
  await card(page, 'Milk').getByRole('link').click();
  const editing = dialog(page);
  await editing.getByLabel('Title').fill('Oat milk');
  await editing.getByLabel('Description').fill('Two cartons,\nunsweetened');
  await editing.getByLabel('Assigned to').selectOption({ label: 'Ada Lovelace' });
  await editing.getByLabel('Priority').selectOption('high');
  await editing.getByLabel('Due').fill('2020-02-29T18:30');
  await editing.getByLabel('Estimate in hours').fill('a lot');
  await editing.getByRole('button', { name: 'Save' }).click();
  await editing.getByText('Estimate in hours must be a number of hours.').waitFor();
  await editing.getByLabel('Estimate in hours').fill('0,5');
  await editing.getByRole('button', { name: 'Save' }).click();
  await editing.getByText('Saved.').waitFor();
  await editing.getByLabel('New comment').fill('The blue ones, please.');
  await editing.getByRole('button', { name: 'Comment', exact: true }).click();
  await editing.getByText('The blue ones, please.').waitFor();

  // What is not saved is not lost by accident.
  await editing.getByLabel('Description').fill('Three cartons');
  await page.keyboard.press('Escape');
  await editing.getByText('There are changes that are not saved.').waitFor();
  await editing.getByRole('button', { name: 'Save and close' }).click();
  await gone(editing);

  // The address of a card is a link to it, also after a reload, which keeps one signed in.
  await card(page, 'Oat milk').getByRole('link').click();
  await editing.waitFor();
  assert.match(page.url(), /\/cards\//);
  await page.reload();
  await editing.getByText('The blue ones, please.').waitFor();
  assert.equal(await editing.getByLabel('Description').inputValue(), 'Three cartons');
  assert.equal(await editing.getByLabel('Due').inputValue(), '2020-02-29T18:30');
  assert.equal(await editing.getByLabel('Estimate in hours').inputValue(), '0.5');
  await page.goBack();
  await gone(editing);
  assert.equal(page.url(), address);
  await card(page, 'Oat milk').getByText('Feb 29, 2020').waitFor();

  // Deleting: a card from its menu, a card from its dialog, an empty column.
  await card(page, 'Bread').getByRole('button', { name: 'Card Bread: menu' }).click();
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  await holds(page, 'To do', []);
  await card(page, 'Eggs').getByRole('link').click();
  await editing.getByRole('button', { name: 'Delete', exact: true }).click();
  await editing.getByRole('button', { name: 'Really delete?' }).click();
  await holds(page, 'Waiting', ['Oat milk']);
  await settled(page);
  ada.expected.push(refusal('delete_column', 409));
  await page.getByRole('button', { name: 'Column Waiting: menu' }).click();
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  await page.getByRole('alert').getByText('still holds 1 card').waitFor();
  await page.getByRole('button', { name: 'Column To do: menu' }).click();
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  await gone(column(page, 'To do'));
  await page.getByRole('button', { name: 'Column Waiting: menu' }).click();
  await page.getByRole('menuitem', { name: 'Move left' }).click();
  await settled(page);
  await page.reload();
  await holds(page, 'Waiting', ['Oat milk']);
  const order = await page.getByRole('region').getByRole('heading').allInnerTexts();
  assert.deepEqual(order, ['Doing', 'Waiting', 'Done']);

  // An import from a place that the server does not know.
  ada.expected.push(refusal('import_cards_from_url', 422));
  await page.getByRole('button', { name: 'Column Done: menu' }).click();
  await page.getByRole('menuitem', { name: 'Import cards…' }).click();
  await dialog(page).getByLabel('Address').fill('https://example.org/cards.json');
  await dialog(page).getByRole('button', { name: 'Import' }).click();
  await dialog(page).getByText('example.org is not among the hosts').waitFor();
  await page.keyboard.press('Escape');
  await gone(dialog(page));

  // The board goes.
  await page.getByRole('button', { name: 'Board menu' }).click();
  await page.getByRole('menuitem', { name: 'Rename or delete…' }).click();
  await dialog(page).getByRole('button', { name: 'Delete board' }).click();
  await dialog(page).getByRole('button', { name: 'Delete it with all its cards?' }).click();
  await page.getByRole('heading', { name: 'Hello, Ada Lovelace' }).waitFor();
  assert.equal(await page.getByRole('link', { name: 'Kitchen' }).count(), 0);
});
