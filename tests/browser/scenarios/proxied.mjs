/** Behind a proxy that lets no WebSocket through: the same board, over a stream of events. */

import assert from 'node:assert/strict';

import {
  AWAY,
  addCards,
  addMember,
  card,
  gone,
  holds,
  makeBoard,
  scenario,
  server,
  settled,
  signUp,
  url,
} from './stage.mjs';

await scenario(async (open) => {
  const ada = await open({ noSockets: true });
  const bob = await open();
  // The browser reports each WebSocket that is refused.
  ada.expected.push(AWAY);
  bob.expected.push(AWAY);
  const streams = [];
  const sockets = [];
  ada.page.on('request', (request) => {
    if (request.url().endsWith('/events')) streams.push(request.url());
  });
  ada.page.on('websocket', (socket) => sockets.push(socket.url()));
  await signUp(ada, 'Ada Lovelace');
  await signUp(bob, 'Bob Hope');
  await makeBoard(ada, 'Kitchen');
  const kitchen = new URL(ada.page.url()).pathname;
  await addMember(ada, 'Bob Hope');
  await bob.page.goto(url(kitchen));
  await bob.page.getByRole('heading', { name: 'Kitchen' }).waitFor();
  assert.ok(streams.length > 0, 'a stream of events was opened');
  const tried = sockets.length;

  // Both ways, with everything that goes with it.
  await ada.page.getByRole('link', { name: /Bob Hope \(here\)/ }).waitFor();
  await bob.page.getByRole('link', { name: /Ada Lovelace \(here\)/ }).waitFor();
  await addCards(ada.page, 'To do', ['Eggs', 'Milk']);
  await holds(bob.page, 'To do', ['Eggs', 'Milk']);
  await card(bob.page, 'Milk').getByRole('link').focus();
  await bob.page.keyboard.press('Shift+ArrowUp');
  await holds(ada.page, 'To do', ['Milk', 'Eggs']);
  await ada.page.getByText('Bob Hope has moved Milk to To do.').waitFor({ state: 'attached' });
  await settled(ada.page);

  // Through a restart, too; it is known by then what gets through.
  await server.kill();
  const banner = ada.page.getByRole('status').filter({ hasText: 'Not connected.' });
  await banner.waitFor();
  await card(ada.page, 'Eggs').getByRole('link').focus();
  await ada.page.keyboard.press('Shift+ArrowRight');
  await holds(ada.page, 'Doing', ['Eggs']);
  await server.start();
  await gone(banner);
  await holds(bob.page, 'Doing', ['Eggs']);
  assert.equal(sockets.length, tried, 'no further WebSocket was tried');
});
