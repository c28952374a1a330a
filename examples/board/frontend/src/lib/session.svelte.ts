/** Who is signed in, and the client that calls as them. Cookies that no script can read hold the session. */

import { type ForgeError, type User, api, createForgeClient, createOutbox } from './forge';

/** `undefined` until the back end has told, `null` when nobody is signed in. */
let user = $state.raw<User | null | undefined>(undefined);
let failure = $state.raw<ForgeError>();

/** Renews the session by itself, and tells when it has ended: here, in another tab, or from another place. */
export const client = createForgeClient({ onSignedOut: () => (user = null) });

/**
 * What people do to a board goes through here: in the order in which they did it, and, while the server cannot be reached,
 * later. It waits in this page, so a page that is closed meanwhile asks first.
 */
export const outbox = createOutbox();
addEventListener('beforeunload', (event) => {
  if (outbox.size > 0) event.preventDefault();
});

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
      failure = cause as ForgeError;
    }
  },
  entered(who: User): void {
    user = who;
  },
};
