/**
 * Who a client's calls are made for. Renews the session at most once at a time, however many calls found it run out, and
 * tells the app when nobody is signed in any more. Nothing here watches the clock: the back end's answers tell.
 *
 * A session is held by a token that the app keeps (`getToken`), which a 401 shows to be spent; or by cookies that no
 * script can read, of which the answers say what becomes of them, and which all tabs of a browser share.
 */

import { type Answer, isRefusal } from './answer.js';
import { ForgeError, why } from './error.js';
import { type News, Tabs } from './tabs.js';

/**
 * Gives the token to call with, or nothing when nobody is signed in. With `force`, the back end has refused the token
 * that was given before: a new one is wanted. Calls that it makes with the same client need `{ auth: false }`.
 */
export type GetToken = (request: { force: boolean }) => TokenAnswer | Promise<TokenAnswer>;

type TokenAnswer = string | null | undefined;

/** What a call is made with. */
export interface Pass {
  /** For the `Authorization` header. */
  readonly token: string | undefined;
  /** How often the cookies are known to have changed. */
  readonly generation: number;
}

/** How a session is held. */
export interface SessionOptions {
  /** The back end that it is a session of. */
  url: string;
  getToken: GetToken | undefined;
  /** Trades the cookies for new ones, or learns that the session has ended. Only where cookies hold it. */
  renewCookies: (() => Promise<'renewed' | 'ended'>) | undefined;
  onSignedOut: ((why: ForgeError) => void) | undefined;
}

/** The session that a client's calls belong to. */
export class Session {
  readonly #options: SessionOptions;
  readonly #tabs: Tabs | undefined;
  /** Told when somebody signs in, and when nobody is signed in any more, in whichever tab that was. */
  onChange: ((news: 'started' | 'ended') => void) | undefined;
  #generation = 0;
  #renewal: { spent: Pass; pass: Promise<Pass | undefined> } | undefined;
  #lost: Pass | undefined;
  /** Requests under way that begin or end a session. */
  readonly #changes = new Set<Promise<unknown>>();

  constructor(options: SessionOptions) {
    this.#options = options;
    if (options.renewCookies) this.#tabs = new Tabs(options.url, (news) => this.#hear(news));
  }

  /** What to call with as whoever is signed in. */
  async pass(): Promise<Pass> {
    const token = await this.#token(false);
    return { ...this.bare(), token };
  }

  /** What to call with when no token is to be sent. */
  bare(): Pass {
    return { token: undefined, generation: this.#generation };
  }

  /**
   * Holds renewals back until this request, which begins or ends the session, is answered: its effect shows on the live
   * connection before, and to trade cookies that somebody is giving up would only be refused.
   */
  async change<T>(request: Promise<T>): Promise<T> {
    this.#changes.add(request);
    try {
      return await request;
    } finally {
      this.#changes.delete(request);
    }
  }

  /** Learns from an answer to a call that was made with this pass. */
  learn({ session, error }: Answer, pass: Pass): void {
    if (session === 'started') {
      this.#generation += 1;
      this.#tabs?.tell('started');
      this.onChange?.('started');
    } else if (session === 'ended') {
      this.#tabs?.tell('ended');
      this.lose(pass, ended('the caller has signed out'));
    } else if (!error && pass.token !== undefined) {
      // Whoever has this token is signed in. An answer to cookies proves nothing: it may have been for everybody.
      this.#lost = undefined;
    }
  }

  /**
   * What to repeat a call with whose answer shows that its pass is spent; nothing when a repeat would change nothing.
   * Calls with the same spent pass share one renewal. Rejects when it fails, which ends no session: the network may be
   * down.
   */
  renew(spent: Pass, answer: Answer): Promise<Pass | undefined> {
    const { getToken, renewCookies } = this.#options;
    if (getToken)
      return isRefusal(answer.error)
        ? this.#once(spent, () => this.#anotherToken(spent))
        : Promise.resolve(undefined);
    if (!renewCookies) return Promise.resolve(undefined);
    // The cookies changed while the answer was on its way: it says nothing about those that there are now.
    if (spent.generation !== this.#generation) return Promise.resolve(this.bare());
    if (answer.session !== 'renew') return Promise.resolve(undefined);
    return this.#once(spent, () => this.#otherCookies(spent, renewCookies)).then(
      // A renewal that is refused has taken the cookies away, so what is public answers even if it did not before.
      (pass) => pass ?? (answer.error ? this.bare() : undefined),
    );
  }

  /** Nobody is signed in. The app is told once per session, not once per call. */
  lose(pass: Pass, error: ForgeError): void {
    if (this.isLost(pass)) return;
    this.#lost = pass;
    try {
      this.#options.onSignedOut?.(error);
    } finally {
      this.onChange?.('ended');
    }
  }

  /** Whether it is known that nobody is signed in with this pass. */
  isLost(pass: Pass): boolean {
    return this.#lost !== undefined && same(this.#lost, pass);
  }

  #hear(news: News): void {
    if (news === 'ended') this.lose(this.bare(), ended('the session ended in another tab'));
    else {
      this.#generation += 1;
      if (news === 'started') this.onChange?.('started');
    }
  }

  #once(spent: Pass, renew: () => Promise<Pass | undefined>): Promise<Pass | undefined> {
    if (!this.#renewal || !same(this.#renewal.spent, spent)) {
      const renewal = { spent, pass: renew() };
      this.#renewal = renewal;
      const done = () => {
        if (this.#renewal === renewal) this.#renewal = undefined;
      };
      renewal.pass.then(done, done);
    }
    return this.#renewal.pass;
  }

  async #otherCookies(
    spent: Pass,
    renewCookies: () => Promise<'renewed' | 'ended'>,
  ): Promise<Pass | undefined> {
    const renew = async () => {
      await Promise.allSettled(this.#changes);
      // Somebody signed in or out, or another tab did it, while this one waited for its turn.
      if (spent.generation !== this.#generation) return this.bare();
      if (this.isLost(spent)) return undefined;
      const outcome = await renewCookies();
      this.#tabs?.tell(outcome);
      if (outcome === 'ended') {
        this.lose(spent, ended('the session has ended; sign in again'));
        return undefined;
      }
      this.#generation += 1;
      return this.bare();
    };
    return this.#tabs ? this.#tabs.alone(renew) : renew();
  }

  async #anotherToken({ token: spent }: Pass): Promise<Pass | undefined> {
    // Asked without force first: a renewal may have ended while the refusal was on its way, and a second one could
    // use up a refresh token that is good only once.
    const current = await this.#token(false);
    const token =
      current !== undefined && current !== spent ? current : await this.#token(true);
    return token === undefined || token === spent ? undefined : { ...this.bare(), token };
  }

  async #token(force: boolean): Promise<string | undefined> {
    try {
      return (await this.#options.getToken?.({ force })) || undefined;
    } catch (cause) {
      // A failed refresh is not the end of the session: the network may be down.
      if (cause instanceof ForgeError) throw cause;
      throw new ForgeError('TOKEN_UNAVAILABLE', `getToken failed: ${why(cause)}`, { cause });
    }
  }
}

function same(one: Pass, other: Pass): boolean {
  return one.token === other.token && one.generation === other.generation;
}

function ended(message: string): ForgeError {
  return new ForgeError('UNAUTHORIZED', message);
}
