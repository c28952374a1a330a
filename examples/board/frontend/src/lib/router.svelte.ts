/** Which page is shown. Paths are real ones, so that a link to a card works wherever it is pasted. */

export type Route =
  | { page: 'boards' }
  | { page: 'board'; boardId: string; cardId?: string }
  | { page: 'members'; boardId: string }
  | { page: 'sessions' }
  | { page: 'digest' }
  | { page: 'nowhere' };

let path = $state(location.pathname);
addEventListener('popstate', () => {
  path = location.pathname;
});

/** Goes to a page of this app. */
export function go(to: string, how: { replace?: boolean } = {}): void {
  if (to === location.pathname) return;
  if (how.replace) history.replaceState(null, '', to);
  else history.pushState(null, '', to);
  path = to;
}

/** Lets links within the app change the page without loading it anew. For a click anywhere. */
export function follow(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = event.target instanceof Element ? event.target.closest('a') : null;
  if (!link || link.origin !== location.origin || link.target || link.hasAttribute('download')) return;
  event.preventDefault();
  go(link.pathname);
}

export function route(): Route {
  const parts = path.split('/').filter(Boolean);
  const [first, boardId, below, cardId] = parts;
  if (parts.length === 0) return { page: 'boards' };
  if (first === 'sessions' && parts.length === 1) return { page: 'sessions' };
  if (first === 'digest' && parts.length === 1) return { page: 'digest' };
  if (first === 'boards' && boardId) {
    if (parts.length === 2) return { page: 'board', boardId };
    if (below === 'members' && parts.length === 3) return { page: 'members', boardId };
    if (below === 'cards' && cardId && parts.length === 4) return { page: 'board', boardId, cardId };
  }
  return { page: 'nowhere' };
}
