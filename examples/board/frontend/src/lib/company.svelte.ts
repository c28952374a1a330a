/** Who else is looking at a board, and at which of its cards. */

import { type BoardView, api, present } from './forge';
import { session } from './session.svelte';

/** What everybody says of themselves. */
interface Whereabouts {
  /** The card that they have open. */
  card: string | null;
  /** Whether they are changing it. */
  editing: boolean;
}

/** Somebody else who is here. */
export interface Companion {
  userId: string;
  name: string;
  card: string | null;
  editing: boolean;
}

/** To be called while a component is set up. `board` gives the board once it may be seen. */
export function company(board: () => BoardView | undefined, mine: () => Whereabouts) {
  const boardId = $derived(board()?.id);
  const here = present(api.getBoard, () => (boardId === undefined ? null : { boardId }), mine);

  // One entry for each person, of whichever of their windows tells the most.
  const others = $derived.by(() => {
    const found = new Map<string, Companion>();
    for (const { userId, state } of here.members) {
      const name = board()?.members.find((member) => member.userId === userId)?.name;
      if (userId === null || name === undefined || userId === session.user?.id) continue;
      const known = found.get(userId);
      const { card, editing } = state;
      if (!known || (!known.editing && card !== null)) found.set(userId, { userId, name, card, editing });
    }
    return [...found.values()];
  });

  return {
    get others(): readonly Companion[] {
      return others;
    },
    /** Those who have a card open. */
    at(cardId: string): Companion[] {
      return others.filter(({ card }) => card === cardId);
    },
  };
}

/** Says what others do with a card. */
export function doing(companions: readonly Companion[]): string {
  const names = (some: readonly Companion[]) => some.map(({ name }) => name).join(' and ');
  const editing = companions.filter((one) => one.editing);
  if (editing.length > 0) return `${names(editing)} ${editing.length === 1 ? 'is' : 'are'} changing this card`;
  return `${names(companions)} ${companions.length === 1 ? 'has' : 'have'} this card open`;
}
