// Uses of the generated client as an app writes them: what must compile, and what must not.

import { type Card, type CardState, type Change, type Date, type NewCard, ForgeError } from './index.js';
import { api, call, createForgeClient, live, load } from './index.js';
import type { ConnectionStatus, Snapshot, Subscription } from './index.js';
import type { Query, string_ } from './types.js';

const client = createForgeClient({ url: 'https://board.example.org', getToken: () => null });

export async function calls(): Promise<void> {
  const cards: Card[] = await client.query(api.listCards, { columnId: 'c' });
  await client.query(api.listCards, { columnId: 'c', filter: null });
  await client.query(api.listCards, { columnId: 'c', filter: { by: 'state' } });
  const changes: Change[] = await client.query(api.changes);
  await client.query(api.delete);
  const round: Query = await client.query(api.of2ndRound);
  const card: Card = await client.mutate(api.addCard, { input: { columnId: 'c', title: 't', size: '9007199254740993' } });
  const nothing: null = await client.mutate(api.clear);
  const count: string = await client.action(api.importFromUrl, { columnId: 'c' });
  void [cards, round, card, nothing, count];

  for (const change of changes) {
    if (change.type === 'created') void change.card.children[0]?.title;
    // @ts-expect-error only a card that was moved has this
    if (change.type === 'gone') void change.from;
  }

  // @ts-expect-error the arguments are missing
  await client.query(api.listCards);
  // @ts-expect-error names are camelCase on the wire
  await client.query(api.listCards, { column_id: 'c' });
  // @ts-expect-error there is no such filter
  await client.query(api.listCards, { columnId: 'c', filter: { by: 'colour' } });
  // @ts-expect-error a number is exact only up to 2^53
  await client.mutate(api.addCard, { input: { columnId: 'c', title: 't', size: 5 } });
  // @ts-expect-error the title is missing
  await client.mutate(api.addCard, { input: { columnId: 'c' } });
  // @ts-expect-error the colour is none of the list
  await client.mutate(api.addCard, { input: { columnId: 'c', title: 't', colour: 'pink' } });
  // @ts-expect-error it is a mutation
  await client.query(api.addCard, { input: { columnId: 'c', title: 't' } });
  // @ts-expect-error it takes nothing
  await client.query(api.changes, { columnId: 'c' });
  // @ts-expect-error it takes an object without fields
  await client.query(api.delete, { id: 'c' });
  // @ts-expect-error there is no such function
  api.listColumns;
  // @ts-expect-error the list is fixed
  api.listCards = api.changes;
}

export function subscriptions(card: Card): void {
  const cards: Subscription<Card[]> = client.subscribe(api.listCards, { columnId: 'c' }, (now: Snapshot<Card[]>) => {
    void now.data?.[0]?.title;
  });
  const status: ConnectionStatus = client.connection.status;
  void client.mutate(api.addCard, { input: { columnId: 'c', title: 't' } }, {
    optimistic: (q, { input }) => q(api.listCards, { columnId: input.columnId }).append({ ...card, title: input.title }),
  });
  void [cards.current.data, status];

  // @ts-expect-error the arguments are those of another function
  client.subscribe(api.listCards, { id: 'c' }, () => {});
  // @ts-expect-error a mutation is not subscribed to
  client.subscribe(api.clear, undefined, () => {});
}

export function values(card: Card): void {
  const state: CardState = card.state;
  const due: string | null = card.due;
  const tag: string | null | undefined = card.tags[0];
  const corner: [number, number | null] = card.corner;
  const settings: unknown = card.settings;
  const year: Date = { year: 2026 };
  const kind: string_ = 'team';
  const draft: NewCard = { columnId: 'c', title: 't' };
  void [state, due, tag, corner, settings, year, kind, draft, card['2nd-line'], card.größe];

  // @ts-expect-error a decimal is text
  const price: number = card.price;
  // @ts-expect-error answers may hold null
  const always: string = card.due;
  // @ts-expect-error not a state
  card.state = 'closed';
  // @ts-expect-error what is received is always there
  const made: Card = {};
  void [price, always, made];
}

export function components(columnId: string): void {
  const cards = live(api.listCards, () => ({ columnId }));
  const add = call(api.addCard, {
    optimistic: (q, { input }) => q(api.listCards, { columnId }).change((card) => card.title === input.title, { due: null }),
  });
  const once = load(api.changes);
  const first: Card | undefined = cards.data?.[0];
  void add({ input: { columnId, title: first?.title ?? 'first' } });
  void [cards.stale, cards.status, cards.updatedAt, once.data];
  cards.stop();
  if (add.error instanceof ForgeError) void add.error.fields['title']?.join();

  // @ts-expect-error the title is missing
  void add({ input: { columnId } });
  // @ts-expect-error the arguments are those of another function
  live(api.listCards, () => ({ id: columnId }));
  call(api.addCard, {
    // @ts-expect-error a field of the row is missing
    optimistic: (q) => q(api.listCards, { columnId }).append({ title: 'x' }),
  });
  // @ts-expect-error the arguments are those of another function
  load(api.listCards, () => ({ id: columnId }));
}
