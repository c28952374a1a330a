/**
 * Who a client's calls are made for. Renews the token at most once at a time, however many calls were refused with the
 * old one, and tells the app when nobody is signed in any more.
 */

import { ForgeError, why } from './error.js';

/**
 * Gives the token to call with, or nothing when nobody is signed in. With `force`, the back end has refused the token
 * that was given before: a new one is wanted. Calls that it makes with the same client need `{ auth: false }`.
 */
export type GetToken = (request: { force: boolean }) => TokenAnswer | Promise<TokenAnswer>;

type TokenAnswer = string | null | undefined;

/** The session that a client's calls belong to. */
export class Session {
  #getToken: GetToken | undefined;
  #onUnauthorized: ((error: ForgeError) => void) | undefined;
  #renewal: { refused: string | undefined; token: Promise<string | undefined> } | undefined;
  #lost: { token: string | undefined } | undefined;

  constructor(
    getToken: GetToken | undefined,
    onUnauthorized: ((error: ForgeError) => void) | undefined,
  ) {
    this.#getToken = getToken;
    this.#onUnauthorized = onUnauthorized;
  }

  /** The token as it is. */
  token(): Promise<string | undefined> {
    return this.#ask(false);
  }

  /** Another token than the refused one, or nothing. Callers with the same refused token share one renewal. */
  renew(refused: string | undefined): Promise<string | undefined> {
    if (!this.#getToken) return Promise.resolve(undefined);
    if (!this.#renewal || this.#renewal.refused !== refused) {
      const renewal = { refused, token: this.#another(refused) };
      this.#renewal = renewal;
      const done = () => {
        if (this.#renewal === renewal) this.#renewal = undefined;
      };
      renewal.token.then(done, done);
    }
    return this.#renewal.token;
  }

  /** A call was answered: whoever it was made for is signed in as far as they need to be. */
  confirm(): void {
    this.#lost = undefined;
  }

  /** A call was refused for good. The app is told once per session, not once per call. */
  lose(token: string | undefined, error: ForgeError): void {
    if (this.#lost && this.#lost.token === token) return;
    this.#lost = { token };
    this.#onUnauthorized?.(error);
  }

  async #another(refused: string | undefined): Promise<string | undefined> {
    // Asked without force first: a renewal may have ended while the refusal was on its way, and a second one could
    // use up a refresh token that is good only once.
    const current = await this.#ask(false);
    if (current !== undefined && current !== refused) return current;
    const renewed = await this.#ask(true);
    return renewed === refused ? undefined : renewed;
  }

  async #ask(force: boolean): Promise<string | undefined> {
    try {
      return (await this.#getToken?.({ force })) || undefined;
    } catch (cause) {
      // A failed refresh is not the end of the session: the network may be down.
      if (cause instanceof ForgeError) throw cause;
      throw new ForgeError('TOKEN_UNAVAILABLE', `getToken failed: ${why(cause)}`, { cause });
    }
  }
}
