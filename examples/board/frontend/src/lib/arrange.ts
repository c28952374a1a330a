/** Where cards stand on a board, and where they would after a move. */

import type { BoardView, CardSummary, ColumnView } from './forge';

/** A place for a card: in a column, above another card, or at the bottom. */
export interface Place {
  columnId: string;
  before: string | null;
}

export function findCard(board: BoardView, cardId: string) {
  for (const column of board.columns) {
    const index = column.cards.findIndex((card) => card.id === cardId);
    const card = column.cards[index];
    if (card) return { card, column, index };
  }
  return undefined;
}

/** The place that a card has now. */
export function placeOf(column: ColumnView, index: number): Place {
  return { columnId: column.id, before: column.cards[index + 1]?.id ?? null };
}

/** Whether a card may go into a column: a full one takes none, but those that it holds may move within it. */
export function hasRoom(column: ColumnView, cardId: string): boolean {
  return (
    column.cardLimit === null ||
    column.cards.length < column.cardLimit ||
    column.cards.some((card) => card.id === cardId)
  );
}

export function withCardMoved(board: BoardView, cardId: string, to: Place): BoardView {
  const found = findCard(board, cardId);
  if (!found || to.before === cardId) return board;
  return withCardsOf(withoutCard(board, cardId), to.columnId, (cards) => {
    const below = cards.findIndex((card) => card.id === to.before);
    return cards.toSpliced(below < 0 ? cards.length : below, 0, { ...found.card, columnId: to.columnId });
  });
}

export function withoutCard(board: BoardView, cardId: string): BoardView {
  const column = findCard(board, cardId)?.column;
  return column ? withCardsOf(board, column.id, (cards) => cards.filter((card) => card.id !== cardId)) : board;
}

/** With a new card at the bottom of its column. */
export function withCard(board: BoardView, card: CardSummary): BoardView {
  return withCardsOf(board, card.columnId, (cards) => [...cards, card]);
}

export function withCardChanged(
  board: BoardView,
  cardId: string,
  change: (card: CardSummary) => Partial<CardSummary>,
): BoardView {
  const column = findCard(board, cardId)?.column;
  if (!column) return board;
  return withCardsOf(board, column.id, (cards) =>
    cards.map((card) => (card.id === cardId ? { ...card, ...change(card) } : card)),
  );
}

/** With other cards in one column, whose hours are theirs. */
function withCardsOf(
  board: BoardView,
  columnId: string,
  change: (cards: CardSummary[]) => CardSummary[],
): BoardView {
  const columns = board.columns.map((column) => {
    if (column.id !== columnId) return column;
    const cards = change(column.cards);
    const hours = cards.reduce((sum, card) => sum + Number(card.estimate ?? 0), 0);
    return { ...column, cards, estimate: hours.toFixed(2) };
  });
  return { ...board, columns };
}

/** The columns in another order: one of them to the left of another, or at the right end. */
export function withColumnMoved(board: BoardView, columnId: string, before: string | null): BoardView {
  const moved = board.columns.find((column) => column.id === columnId);
  if (!moved || before === columnId) return board;
  const columns = board.columns.filter((column) => column.id !== columnId);
  const right = columns.findIndex((column) => column.id === before);
  columns.splice(right < 0 ? columns.length : right, 0, moved);
  return { ...board, columns };
}

/** Where a card goes with an arrow key; nothing when there is no such place. */
export function neighbour(board: BoardView, cardId: string, key: string): Place | undefined {
  const found = findCard(board, cardId);
  if (!found) return undefined;
  const { column, index } = found;
  const at = board.columns.indexOf(column);
  switch (key) {
    case 'ArrowUp': {
      const above = column.cards[index - 1];
      return above && { columnId: column.id, before: above.id };
    }
    case 'ArrowDown': {
      if (index + 1 >= column.cards.length) return undefined;
      return { columnId: column.id, before: column.cards[index + 2]?.id ?? null };
    }
    case 'ArrowLeft':
    case 'ArrowRight': {
      const side = board.columns[at + (key === 'ArrowLeft' ? -1 : 1)];
      return side && { columnId: side.id, before: side.cards[index]?.id ?? null };
    }
    default:
      return undefined;
  }
}
