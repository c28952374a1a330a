// What the type checker must accept, and what it must refuse. Nothing here is run.

import {
  type ForgeClient,
  ForgeError,
  type Mutation,
  type Outbox,
  type Query,
  action,
  createOutbox,
  job,
  mutation,
  newId,
  query,
} from '../src/client.js';
import { call, connection, live, load, present, trackJob } from '../src/svelte.svelte.js';

interface Card {
  id: string;
  title: string;
}

const api = {
  listCards: query<{ columnId: string }, Card[]>('list_cards'),
  search: query<{ text?: string }, Card[]>('search'),
  me: query<void, Card | null>('me'),
  addCard: mutation<{ columnId: string; title: string }, Card>('add_card'),
  clear: mutation<void, null>('clear'),
  importCards: action<{ url: string }, number>('import_cards'),
} as const;

const jobs = {
  exportBoard: job<{ fileName: string }>('export_board'),
} as const;

export function tracking(client: ForgeClient, jobId: string | null): void {
  const tracker = client.trackJob(jobs.exportBoard, 'x', ({ output, status, done }) => {
    const name: string | undefined = output?.fileName;
    void [name, status === 'completed', done];
  });
  tracker.stop();
  const tracked = trackJob(jobs.exportBoard, () => jobId);
  const percent: number | undefined = tracked.progress;
  const name: string | undefined = tracked.output?.fileName;
  void [percent, name, tracked.message, tracked.error?.code, tracked.done];
  // @ts-expect-error the output is another
  const wrong: number | undefined = tracked.output;
  // @ts-expect-error the id is given by a function, so that it is followed
  trackJob(jobs.exportBoard, 'x');
  // @ts-expect-error a query is no job
  client.trackJob(api.listCards, 'x', () => {});
  // @ts-expect-error there is no such status
  void (tracked.status === 'failed');
  void wrong;
}

export async function calls(client: ForgeClient): Promise<void> {
  const cards: Card[] = await client.query(api.listCards, { columnId: 'c' }, { timeout: 100 });
  const found: Card[] = await client.query(api.search);
  const some: Card[] = await client.query(api.search, { text: 'x' });
  const me: Card | null = await client.query(api.me);
  await client.query(api.me, undefined, { signal: AbortSignal.abort() });
  const none: null = await client.mutate(api.clear);
  const count: number = await client.action(api.importCards, { url: 'x' });
  const card: Card = await client.call(api.addCard, { columnId: 'c', title: 't' });
  void [cards, found, some, me, none, count, card];

  // @ts-expect-error an argument is missing
  await client.query(api.listCards);
  // @ts-expect-error a field is missing
  await client.query(api.listCards, {});
  // @ts-expect-error a field has another type
  await client.query(api.listCards, { columnId: 1 });
  // @ts-expect-error there is no such field
  await client.query(api.listCards, { columnId: 'c', colour: 'red' });
  // @ts-expect-error it takes no arguments
  await client.query(api.me, { id: 'x' });
  // @ts-expect-error it is not a query
  await client.query(api.addCard, { columnId: 'c', title: 't' });
  // @ts-expect-error it is not a mutation
  await client.mutate(api.listCards, { columnId: 'c' });
  // @ts-expect-error it is not an action
  await client.action(api.listCards, { columnId: 'c' });
  // @ts-expect-error the result is another
  const wrong: string = await client.mutate(api.clear);
  // @ts-expect-error there is no such option
  await client.query(api.search, {}, { patience: 3 });
  void wrong;
}

export function subscriptions(client: ForgeClient): void {
  const cards = client.subscribe(api.listCards, { columnId: 'c' }, ({ data }) => {
    const rows: Card[] | undefined = data;
    void rows;
  });
  const count: number | undefined = cards.current.data?.length;
  client.subscribe(api.me, undefined, ({ data, stale, updatedAt, error }) => {
    const me: Card | null | undefined = data;
    const since: Date | undefined = updatedAt;
    void [me, stale, since, error?.code];
  });
  const status: 'connecting' | 'open' | 'offline' | 'closed' = client.connection.status;
  cards.stop();
  void [count, status];

  const off: () => void = client.on(api.listCards, { columnId: 'c' }, ({ name, data, missed }) => {
    const lost: number = missed;
    void [name, data, lost];
  });
  const here = client.presence(api.listCards, { columnId: 'c' }, { x: 1 }, ({ data }) => {
    const xs: number[] | undefined = data?.map(({ state }) => state.x);
    void xs;
  });
  here.set({ x: 2 });
  here.set(null);
  void off;
  // @ts-expect-error the state is another
  here.set('x');

  // @ts-expect-error a field is missing
  client.subscribe(api.listCards, {}, () => {});
  // @ts-expect-error a mutation is not subscribed to
  client.subscribe(api.addCard, { columnId: 'c', title: 't' }, () => {});
  // @ts-expect-error snapshots are read-only
  cards.current.data = [];
}

export async function expectations(client: ForgeClient): Promise<void> {
  await client.mutate(api.addCard, { columnId: 'c', title: 't' }, {
    optimistic: (q, { columnId, title }) => {
      const cards = q(api.listCards, { columnId }).append({ id: 'new', title });
      cards.change((card) => card.id === 'x', { title: 'y' }).remove((card) => card.title === '');
      const first: Card | undefined = cards.data?.[0];
      q(api.me).set(null).update((me) => me);
      void first;
    },
  });
  await client.mutate(api.addCard, { columnId: 'c', title: 't' }, {
    optimistic: (q) => {
      // @ts-expect-error a field is missing
      q(api.listCards, {});
      // @ts-expect-error a field of the row is missing
      q(api.listCards, { columnId: 'c' }).append({ id: 'new' });
      // @ts-expect-error it is no list
      q(api.me).append({ id: 'new', title: '' });
      // @ts-expect-error only what can be read can be expected
      q(api.addCard, { columnId: 'c', title: 't' });
    },
  });
  // @ts-expect-error a query changes nothing
  await client.query(api.search, {}, { optimistic: () => {} });
}

export function components(columnId: () => string | undefined): void {
  const add = call(api.addCard);
  const added: Promise<Card> = add({ columnId: 'c', title: 't' });
  const last: Card | undefined = add.data;
  const pending: boolean = add.pending;
  const why: readonly string[] | undefined = add.error?.fields['title'];
  const clear = call(api.clear);
  void clear();

  const cards = load(api.listCards, () => ({ columnId: 'c' }));
  const maybe = load(api.listCards, () => {
    const id = columnId();
    return id === undefined ? undefined : { columnId: id };
  });
  const me = load(api.me);
  const data: Card[] | undefined = cards.data;
  const mine: Card | null | undefined = me.data;
  void load(api.search);
  void [added, last, pending, why, maybe, data, mine];

  const following = live(api.listCards, () => {
    const id = columnId();
    return id === undefined ? null : { columnId: id };
  });
  const rows: Card[] | undefined = following.data;
  live(api.me).stop();
  live(api.search);
  const quick = call(api.addCard, {
    optimistic: (q, { columnId, title }) => q(api.listCards, { columnId }).append({ id: '', title }),
  });
  void [rows, following.stale, following.status, following.updatedAt, quick];

  live(api.listCards, () => ({ columnId: 'c' }), { onEvent: ({ name, missed }) => void [name, missed] }).retry();
  const here = present(api.listCards, () => ({ columnId: 'c' }), () => ({ card: 'x' as string | null }));
  const where: (string | null)[] = here.members.map(({ state }) => state.card);
  const outbox: Outbox = createOutbox();
  const reach = connection({ outbox });
  const left: Date | undefined = reach.retryAt;
  void [where, left, reach.waiting, call(api.addCard, { outbox }), newId()];
  // @ts-expect-error the query's arguments are not these
  present(api.listCards, () => ({ column: 'c' }), () => null);

  // @ts-expect-error the arguments are given by a function, so that they are followed
  live(api.listCards, { columnId: 'c' });
  // @ts-expect-error the arguments are missing
  live(api.listCards);
  // @ts-expect-error a mutation is not live
  live(api.addCard, () => ({ columnId: 'c', title: 't' }));

  // @ts-expect-error a field is missing
  void add({ columnId: 'c' });
  // @ts-expect-error results are read-only
  cards.data = [];
  // @ts-expect-error the arguments are given by a function, so that they are followed
  load(api.listCards, { columnId: 'c' });
  // @ts-expect-error the arguments are missing
  load(api.listCards);
  // @ts-expect-error a mutation is not loaded
  load(api.addCard, () => ({ columnId: 'c', title: 't' }));
}

export function kinds(error: unknown): void {
  // @ts-expect-error the results differ
  const other: Query<{ columnId: string }, number> = api.listCards;
  // @ts-expect-error the kinds differ
  const kind: Mutation<{ columnId: string }, Card[]> = api.listCards;
  if (error instanceof ForgeError && error.code === 'COLUMN_FULL') void error.details;
  void [other, kind];
}
