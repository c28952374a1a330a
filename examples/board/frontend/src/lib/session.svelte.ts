/** Who is signed in, and the client that calls as them. Cookies that no script can read hold the session. */

import { ForgeError, type User, api, createForgeClient } from './forge';

/** Set while somebody is signed in: without it, a visitor who never was is not asked for a session. */
const HINT = 'board.signed-in';

/** `undefined` until the back end has told, `null` when nobody is signed in. */
let user = $state.raw<User | null | undefined>(undefined);
let failure = $state.raw<ForgeError>();
let renewal: Promise<boolean> | undefined;

export const client = createForgeClient({ fetch: fetchRenewing, onUnauthorized: () => become(null) });

/**
 * The access token's cookie lives for minutes, the refresh token's for days. When a call is refused, the latter is traded
 * for a new pair, once for all calls that were refused meanwhile, and the call is sent again. When the session has ended,
 * that trade clears the cookies, so that the call is then one of nobody.
 */
async function fetchRenewing(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
  const answer = await fetch(input, init);
  if (answer.status !== 401) return answer;
  await renew();
  return fetch(input, init);
}

function renew(): Promise<boolean> {
  renewal ??= fetch('/auth/refresh', { method: 'POST', headers: { 'x-forge-csrf': '1' } })
    .then((answer) => answer.ok)
    .finally(() => (renewal = undefined));
  return renewal;
}

function become(who: User | null): void {
  user = who;
  if (who) localStorage.setItem(HINT, '1');
  else localStorage.removeItem(HINT);
}

export const session = {
  get user() {
    return user;
  },
  /** Why it is not known who is signed in. */
  get failure() {
    return failure;
  },
  /** Asks the back end who is signed in. */
  async begin(): Promise<void> {
    failure = undefined;
    try {
      let who = await client.query(api.me);
      if (!who && localStorage.getItem(HINT) && (await renew())) who = await client.query(api.me);
      become(who);
    } catch (cause) {
      failure =
        cause instanceof ForgeError
          ? cause
          : new ForgeError('NETWORK_ERROR', 'the session cannot be renewed', { cause });
    }
  },
  entered(who: User): void {
    become(who);
  },
  left(): void {
    become(null);
  },
};
