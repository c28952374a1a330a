/** Signing in at two places, renewing a session, ending one from the other, signing out. */

import assert from 'node:assert/strict';

import { eventually, gone, makeBoard, refusal, scenario, signIn, signUp, url } from './stage.mjs';

const ACCESS = 'forge_session';

await scenario(async (open) => {
  const here = await open();
  const there = await open({ userAgent: 'Mozilla/5.0 (Windows NT 10.0; rv:140.0) Gecko/20100101 Firefox/140.0' });
  await signUp(here, 'Ada Lovelace');

  // No script can read what signs one in.
  assert.equal(await here.page.evaluate(() => document.cookie), '');
  const cookies = await here.page.context().cookies();
  assert.ok(cookies.length > 0 && cookies.every((cookie) => cookie.httpOnly && cookie.sameSite === 'Lax'), 'cookies');

  // A wrong password, then the right one.
  there.expected.push(refusal('sign_in', 400));
  await there.page.goto(url());
  await there.page.getByLabel('E-mail').fill('ada.lovelace@example.org');
  await there.page.getByLabel('Password').fill('a bad sentence');
  await there.page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await there.page.getByText('The e-mail address or the password is not right.').waitFor();
  await signIn(there, 'Ada Lovelace');
  await there.page.getByRole('heading', { name: 'Hello, Ada Lovelace' }).waitFor();

  // The access token runs out: the session is renewed behind the scenes, in the middle of work and on a reload.
  here.expected.push(refusal('list_boards', 401), refusal('create_board', 401));
  await here.page.context().clearCookies({ name: ACCESS });
  await makeBoard(here, 'Renewed');
  await here.page.context().clearCookies({ name: ACCESS });
  await here.page.goto(url());
  await here.page.getByRole('link', { name: 'Renewed' }).waitFor();

  // Both places are listed; the other one is ended from here.
  await here.page.getByRole('button', { name: 'Account of Ada Lovelace' }).click();
  await here.page.getByRole('menuitem', { name: 'Where you are signed in' }).click();
  const other = here.page.getByRole('listitem').filter({ hasText: 'Firefox on Windows' });
  await other.getByText('Signed in on').waitFor();
  assert.equal(await here.page.getByRole('listitem').count(), 2);
  assert.equal(await here.page.getByText('this browser').count(), 1);
  // There, it shows at once, without anything being touched.
  there.expected.push(refusal('refresh', 401));
  await other.getByRole('button', { name: 'Sign out' }).click();
  await gone(other);
  await there.page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await signIn(there, 'Ada Lovelace');
  await there.page.getByRole('link', { name: 'Welcome board' }).waitFor();

  // Everywhere at once; another tab of the same browser shows it without being touched.
  const tab = await here.page.context().newPage();
  await tab.goto(url());
  await tab.getByRole('link', { name: 'Renewed' }).waitFor();
  await here.page.getByRole('button', { name: 'Sign out everywhere' }).click();
  await here.page.getByRole('button', { name: 'Really everywhere, here too?' }).click();
  await here.page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await tab.getByRole('heading', { name: 'Sign in' }).waitFor();
  await here.page.reload();
  await here.page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await eventually(there.page, async () => {
    await there.page.reload();
    const seen = await there.page.getByRole('heading', { level: 2, name: 'Sign in' }).or(there.page.getByRole('article').first());
    await seen.first().waitFor();
    return (await there.page.getByRole('heading', { name: 'Sign in' }).count()) === 1;
  });

  // And back, with everything still there.
  await signIn(here, 'Ada Lovelace');
  await here.page.getByText('this browser').waitFor();
  await here.page.goto(url());
  await here.page.getByRole('link', { name: 'Renewed' }).waitFor();
});
