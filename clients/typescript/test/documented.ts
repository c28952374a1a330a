// What `$lib/forge` is in the documentation's examples.

import { createOutbox, job, mutation, query } from '../src/client.js';

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
  startExport: mutation<{ boardId: string }, string>('start_export'),
} as const;

export const jobs = {
  exportBoard: job<{ fileName: string; content: string }>('export_board'),
} as const;

/** Of the examples' own module. */
export const outbox = createOutbox();

/** What stands around the examples of the README. */
declare global {
  const columnId: string;
  const jobId: string;
  function show(data: unknown): void;
  function showSignIn(): void;
  const accessToken: string | null;
  function refreshed(): Promise<string>;
}
