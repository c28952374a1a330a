/** Two people on one board: who may do what, and that each sees what the other did. */

import assert from 'node:assert/strict';

import { addCards, card, column, emailOf, holds, refusal, scenario, settled, signIn, signUp, url } from './stage.mjs';

await scenario(async (open) => {
  const ada = await open();
  const vic = await open();
  await signUp(ada, 'Ada Lovelace');
  await signUp(vic, 'Vic Viewer');
  await ada.page.getByRole('link', { name: 'Welcome board' }).click();
  await ada.page.getByRole('heading', { name: 'Welcome board' }).waitFor();
  const board = new URL(ada.page.url()).pathname;

  // A stranger is told so, and gets no further.
  vic.expected.push(refusal('get_board', 403));
  await vic.page.goto(url(board));
  await vic.page.getByText('You are not a member of this board.').waitFor();
  assert.equal(await vic.page.getByRole('article').count(), 0);

  // Invited as a viewer; an address without an account is said to be one.
  ada.expected.push(refusal('add_member', 404));
  await ada.page.getByRole('link', { name: /^Members/ }).click();
  await ada.page.getByLabel('E-mail').fill('nobody@example.org');
  await ada.page.getByRole('button', { name: 'Add' }).click();
  await ada.page.getByText('Nobody with the address nobody@example.org has an account yet').waitFor();
  await ada.page.getByLabel('E-mail').fill(emailOf('Vic Viewer'));
  await ada.page.getByLabel('Role', { exact: true }).selectOption('viewer');
  await ada.page.getByRole('button', { name: 'Add' }).click();
  await ada.page.getByLabel('Role of Vic Viewer').waitFor();

  // The last owner stays one.
  ada.expected.push(refusal('set_member_role', 409));
  await ada.page.getByLabel('Role of Ada Lovelace').selectOption('viewer');
  await ada.page.getByText('This board has no other owner').waitFor();
  await settled(ada.page);
  assert.equal(await ada.page.getByLabel('Role of Ada Lovelace').inputValue(), 'owner');

  // A viewer looks, and is offered nothing that would be refused.
  await vic.page.getByRole('button', { name: 'Try again' }).click();
  await holds(vic.page, 'Done', ['Sign up']);
  assert.equal(await vic.page.getByRole('button', { name: 'Add a card' }).count(), 0);
  assert.equal(await vic.page.getByRole('button', { name: /: menu$/ }).count(), 0);
  await card(vic.page, 'Open a card').getByRole('link').click();
  await vic.page.getByRole('dialog').getByText('Click a card').waitFor();
  assert.equal(await vic.page.getByRole('dialog').getByRole('textbox').count(), 0);
  await vic.page.keyboard.press('Escape');

  // Made an editor, and shown it at once.
  await ada.page.getByLabel('Role of Vic Viewer').selectOption('editor');
  await settled(ada.page);
  await addCards(vic.page, 'Doing', ['Vic was here']);
  await ada.page.getByRole('link', { name: 'Back to the board' }).click();
  await column(ada.page, 'Doing').getByRole('link', { name: 'Vic was here' }).waitFor();

  // Signed out, a link leads through signing in to what it names.
  const link = await card(ada.page, 'Vic was here').getByRole('link').getAttribute('href');
  await vic.page.getByRole('button', { name: 'Account of Vic Viewer' }).click();
  await vic.page.getByRole('menuitem', { name: 'Sign out' }).click();
  await vic.page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await vic.page.goto(url(link));
  await signIn(vic, 'Vic Viewer');
  await vic.page.getByRole('dialog').getByRole('heading', { name: 'Vic was here' }).waitFor();
  await vic.page.keyboard.press('Escape');

  // Whoever leaves is out.
  await vic.page.getByRole('link', { name: /^Members/ }).click();
  await vic.page.getByRole('button', { name: 'Leave' }).click();
  await vic.page.getByRole('button', { name: 'Really leave?' }).click();
  await vic.page.getByRole('heading', { name: 'Hello, Vic Viewer' }).waitFor();
  await vic.page.goto(url(board));
  await vic.page.getByText('You are not a member of this board.').waitFor();

  // What is nowhere says so.
  await vic.page.goto(url('/no/such/page'));
  await vic.page.getByRole('heading', { name: 'There is nothing here' }).waitFor();
});
