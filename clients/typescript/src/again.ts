/** When something is asked again that has failed, and may go well later. */

import { type ForgeError, mayPass } from './error.js';

/** The longest pause before it is asked again, in milliseconds, unless the back end wants a longer one; up to twice that, by chance. */
const LONGEST_PAUSE = 30_000;

/** Counts how often one thing failed in a row. */
export class Again {
  #failed = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * It has failed. Asks again when that may help, and says whether it will: after as long as the back end says, or a second,
   * and after twice as long with each failure in a row. Up to double that, by chance: those who failed together do not
   * come back together.
   */
  after(error: ForgeError, ask: () => void): boolean {
    clearTimeout(this.#timer);
    const { code, retryAfter } = error;
    if (code === 'RATE_LIMITED' ? retryAfter === undefined : code !== 'TIMEOUT' && !mayPass(error))
      return false;
    const first = (retryAfter ?? 1) * 1000;
    const pause = Math.max(first, Math.min(LONGEST_PAUSE, first * 2 ** this.#failed++));
    this.#timer = setTimeout(ask, pause * (1 + Math.random()));
    return true;
  }

  /** It went well, or nobody wants it any more. */
  over(): void {
    this.#failed = 0;
    clearTimeout(this.#timer);
  }
}
