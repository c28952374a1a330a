/** Who else is there: on the board, at a card, and who has just done something. */

import { addMember, card, column, dialog, drag, holds, scenario, signUp, url } from './stage.mjs';

const members = (page, name) => page.getByRole('link', { name });

await scenario(async (open) => {
  const ada = await open();
  const bob = await open();
  await signUp(ada, 'Ada Lovelace');
  await signUp(bob, 'Bob Hope');
  await ada.page.getByRole('link', { name: 'Welcome board' }).click();
  await ada.page.getByRole('heading', { name: 'Welcome board' }).waitFor();
  const board = new URL(ada.page.url()).pathname;
  await addMember(ada, 'Bob Hope');
  await members(ada.page, 'Members: Ada Lovelace (here), Bob Hope').waitFor();

  // Bob comes, and is seen; from two windows he is still one.
  await bob.page.goto(url(board));
  await members(ada.page, 'Members: Ada Lovelace (here), Bob Hope (here)').waitFor();
  await members(bob.page, 'Members: Ada Lovelace (here), Bob Hope (here)').waitFor();
  const second = await bob.page.context().newPage();
  await second.goto(url(board));
  await members(second, 'Members: Ada Lovelace (here), Bob Hope (here)').waitFor();

  // What he has open, and what he does with it.
  const invite = card(ada.page, 'Invite somebody');
  await card(bob.page, 'Invite somebody').getByRole('link').click();
  await invite.getByText('Bob Hope has this card open').waitFor({ state: 'attached' });
  await dialog(bob.page).getByLabel('Title').fill('Invite Carol');
  await invite.getByText('Bob Hope is changing this card').waitFor({ state: 'attached' });
  await invite.getByRole('link').click();
  await dialog(ada.page).getByText('Bob Hope is changing this card.').waitFor();
  await dialog(bob.page).getByText('Ada Lovelace has this card open.').waitFor();
  await dialog(bob.page).getByRole('button', { name: 'Save' }).click();
  await dialog(ada.page).getByText('Bob Hope has this card open.').waitFor();
  await dialog(bob.page).getByRole('button', { name: 'Close' }).click();
  await dialog(ada.page).getByText('Bob Hope has this card open.').waitFor({ state: 'detached' });
  await dialog(ada.page).getByRole('button', { name: 'Close' }).click();

  // Who moved it is told with the move.
  await drag(bob.page, 'Invite Carol', column(bob.page, 'Done').getByText('Add a card'));
  await ada.page.getByText('Bob Hope has moved Invite Carol to Done.').waitFor({ state: 'attached' });
  await ada.page.locator('li.moved').filter({ hasText: 'Invite Carol' }).waitFor();
  await holds(ada.page, 'Done', ['Sign up', 'Invite Carol']);

  // He is there until his last window is closed.
  await second.close();
  await bob.page.goto(url());
  await bob.page.getByRole('heading', { name: 'Hello, Bob Hope' }).waitFor();
  await members(ada.page, 'Members: Ada Lovelace (here), Bob Hope').waitFor();
  await bob.page.goBack();
  await members(ada.page, 'Members: Ada Lovelace (here), Bob Hope (here)').waitFor();
  await bob.page.close();
  await members(ada.page, 'Members: Ada Lovelace (here), Bob Hope').waitFor();
});
