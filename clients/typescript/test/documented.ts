// What `$lib/forge` is in the documentation's examples.

import { createOutbox, mutation, query } from '../src/client.js';

export * from '../src/client.js';
export * from '../src/svelte.svelte.js';

export interface Card {
  id: string;
  columnId: string;
  title: string;
  position: string;
  due: string | null;
}

export const api = {
  listCards: query<{ columnId: string }, Card[]>('list_cards'),
  addCard: mutation<{ id?: string; columnId: string; title: string }, Card>('add_card'),
  deleteCard: mutation<{ cardId: string }, null>('delete_card'),
  moveCard: mutation<{ cardId: string; columnId: string }, Card>('move_card'),
} as const;

/** Of the examples' own module. */
export const outbox = createOutbox();

/** What stands around the examples of the README. */
declare global {
  const columnId: string;
  function show(data: unknown): void;
  function showSignIn(): void;
  const accessToken: string | null;
  function refreshed(): Promise<string>;
}
