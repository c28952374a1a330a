/**
 * The other tabs of the browser, which share the session's cookies with this one. What a page has not got (locks need
 * TLS) is done without: the back end bears with two tabs that renew one session at once.
 */

/** What becomes of the session, as tabs tell each other. */
export type News = 'started' | 'renewed' | 'ended';

/** How long to wait for another tab, in milliseconds: one that hangs must not hold up the others. */
const LONGEST_WAIT = 10_000;

/** The tabs whose clients call the same back end. */
export class Tabs {
  readonly #name: string;
  readonly #channel: BroadcastChannel | undefined;

  constructor(url: string, hear: (news: News) => void) {
    this.#name = `forge session ${url}`;
    if (typeof BroadcastChannel === 'undefined') return;
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.onmessage = ({ data }: MessageEvent<News>) => hear(data);
    // Outside of browsers an open channel would keep the process from ending.
    (this.#channel as { unref?: () => void }).unref?.();
  }

  /** Tells the other tabs. */
  tell(news: News): void {
    this.#channel?.postMessage(news);
  }

  /** Does something while no other tab does the same. */
  async alone<Result>(work: () => Promise<Result>): Promise<Result> {
    const locks = typeof navigator === 'undefined' ? undefined : navigator.locks;
    if (!locks) return work();
    let begun: Promise<Result> | undefined;
    try {
      const signal = AbortSignal.timeout(LONGEST_WAIT);
      await locks.request(this.#name, { signal }, () => (begun = work()));
    } catch {
      // The lock was not to be had, or the work failed: then what has begun tells how.
    }
    return begun ?? work();
  }
}
