/** Who is signed in, and the client that calls as them. A cookie that no script can read holds the session. */

import { ForgeError, type User, api, createForgeClient } from './forge';

/** `undefined` until the back end has told, `null` when nobody is signed in. */
let user = $state.raw<User | null | undefined>(undefined);
let failure = $state.raw<ForgeError>();

export const client = createForgeClient({
  getToken: ({ force }) => (force ? renew() : undefined),
  onUnauthorized: () => {
    user = null;
  },
});

/** Trades the cookie for a fresh one. The client asks for this once, however many calls were refused. */
async function renew(): Promise<string | undefined> {
  const answer = await fetch('/auth/refresh', {
    method: 'POST',
    headers: { 'x-forge-csrf': '1' },
  });
  if (!answer.ok) return undefined;
  const body: unknown = await answer.json();
  const data = (body as { data?: { accessToken?: unknown } }).data;
  return typeof data?.accessToken === 'string' ? data.accessToken : undefined;
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
      user = await client.query(api.me);
    } catch (cause) {
      const error = cause as ForgeError;
      if (error.code === 'UNAUTHORIZED') user = null;
      else failure = error;
    }
  },
  entered(who: User): void {
    user = who;
  },
  left(): void {
    user = null;
  },
};
