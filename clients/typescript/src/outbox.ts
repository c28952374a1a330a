/**
 * Calls that are made one after the other, in the order in which they were given, and that wait when the back end cannot
 * be reached, instead of failing. Each keeps its mutation id, so that one whose answer was lost is not done twice.
 *
 * They wait in memory: a page that is closed or loaded anew takes them along. They belong to whoever was signed in.
 */

import type { ConnectionStatus } from './connection.js';
import { ForgeError, mayPass } from './error.js';

/** What an outbox needs to know of the connection. */
export interface Reach {
  readonly status: ConnectionStatus;
  onChange(listener: (status: ConnectionStatus) => void): () => void;
}

/** The longest pause between two attempts, in milliseconds. One is made at once when the connection is there again. */
const LONGEST_PAUSE = 30_000;

/** Makes an outbox, to be given to calls as their `outbox`. */
export function createOutbox(): Outbox {
  return new Outbox();
}

/** Where calls wait; see {@link createOutbox}. */
export class Outbox {
  #size = 0;
  #last: Promise<unknown> = Promise.resolve();
  #end = new AbortController();
  readonly #watchers = new Set<() => void>();

  /** How many calls have not been answered. */
  get size(): number {
    return this.#size;
  }

  /** Calls the listener whenever `size` has changed; gives what ends that. */
  onChange(listener: () => void): () => void {
    const watcher = () => listener();
    this.#watchers.add(watcher);
    return () => void this.#watchers.delete(watcher);
  }

  /** Gives up every call that waits: it rejects with `CANCELLED`. Done by the client when somebody signs in or out. */
  clear(): void {
    this.#end.abort();
    this.#end = new AbortController();
  }

  /** Makes a call when it is its turn, as often as it takes. */
  async send<Result>(
    name: string,
    attempt: () => Promise<Result>,
    reach: Reach,
    signal: AbortSignal | undefined,
  ): Promise<Result> {
    const ends = signal ? [this.#end.signal, signal] : [this.#end.signal];
    const before = this.#last;
    let done: () => void = () => {};
    // Whoever comes next waits for those before as well, also when this one is given up.
    this.#last = Promise.all([before, new Promise<void>((resolve) => (done = resolve))]);
    this.#count(1);
    try {
      await turn(before, ends);
      for (let failed = 0; ; failed++) {
        if (ends.some(({ aborted }) => aborted))
          throw new ForgeError('CANCELLED', `${name} was given up while it waited to be sent`);
        try {
          return await attempt();
        } catch (error) {
          if (!(error instanceof ForgeError) || !canWait(error, reach)) throw error;
        }
        await reachable(reach, failed, ends);
      }
    } finally {
      done();
      this.#count(-1);
    }
  }

  #count(step: number): void {
    this.#size += step;
    for (const watcher of [...this.#watchers]) watcher();
  }
}

/** Waits for those before, or for one of the signals. */
function turn(before: Promise<unknown>, ends: AbortSignal[]): Promise<void> {
  return new Promise((resolve) => {
    const go = () => {
      for (const end of ends) end.removeEventListener('abort', go);
      resolve();
    };
    for (const end of ends) end.addEventListener('abort', go);
    void before.then(go);
    if (ends.some(({ aborted }) => aborted)) go();
  });
}

/** Whether a call that failed so may succeed later. A call that takes too long while all is well never will. */
function canWait(error: ForgeError, { status }: Reach): boolean {
  return mayPass(error) || (error.code === 'TIMEOUT' && status !== 'open');
}

/** Waits until the back end may be reached: the connection is open again, the network is back, or some time has passed. */
function reachable(reach: Reach, failed: number, ends: AbortSignal[]): Promise<void> {
  const pause = Math.min(LONGEST_PAUSE, 500 * 2 ** failed) * (0.5 + Math.random() / 2);
  return new Promise((resolve) => {
    const go = () => {
      clearTimeout(timer);
      stop();
      globalThis.removeEventListener?.('online', go);
      for (const end of ends) end.removeEventListener('abort', go);
      resolve();
    };
    const timer = setTimeout(go, pause);
    const stop = reach.onChange((status) => {
      if (status === 'open') go();
    });
    globalThis.addEventListener?.('online', go);
    for (const end of ends) end.addEventListener('abort', go);
    if (ends.some(({ aborted }) => aborted)) go();
  });
}
