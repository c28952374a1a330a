/** How long one call may go on: until its timeout is over or its caller aborts it. */

import { ForgeError } from './error.js';

/** The longest delay that timers can count, in milliseconds: longer ones would fire at once. */
const LONGEST_DELAY = 2 ** 31 - 1;

/** The patience with one call. */
export class Patience {
  readonly #controller = new AbortController();
  readonly #deadline: number;
  readonly #release: () => void;

  /** `timeout` is in milliseconds; 0 means none. */
  constructor(name: string, timeout: number, signal: AbortSignal | undefined) {
    const end = (error: ForgeError) => this.#controller.abort(error);
    const cancel = () =>
      end(
        new ForgeError('CANCELLED', `${name} was aborted by its caller`, { cause: signal?.reason }),
      );
    const limited = timeout > 0 && timeout <= LONGEST_DELAY;
    const timer = limited
      ? setTimeout(
          () => end(new ForgeError('TIMEOUT', `${name} was not answered within ${timeout} ms`)),
          timeout,
        )
      : undefined;
    this.#deadline = limited ? performance.now() + timeout : Infinity;
    signal?.addEventListener('abort', cancel, { once: true });
    if (signal?.aborted) cancel();
    this.#release = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', cancel);
    };
  }

  /** Aborted when the patience ends; the reason is the error to reject with. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** How many milliseconds are left. */
  get left(): number {
    return this.#deadline - performance.now();
  }

  /** Waits for a promise, and no longer than the patience lasts. */
  for<T>(promise: Promise<T>): Promise<T> {
    const { signal } = this;
    return new Promise((resolve, reject) => {
      const stop = () => reject(signal.reason);
      if (signal.aborted) stop();
      signal.addEventListener('abort', stop, { once: true });
      promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
    });
  }

  /** Waits so many milliseconds. */
  async pause(delay: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      await this.for(new Promise<void>((resolve) => (timer = setTimeout(resolve, delay))));
    } finally {
      clearTimeout(timer);
    }
  }

  /** The call is over: lets go of the timer and of the caller's signal. */
  release(): void {
    this.#release();
  }
}
