/** What was taken back because the server refused it: said on whichever page one is by then. */

import { announce } from './announce.svelte';
import { ForgeError } from './forge';

export interface Failure {
  /** What did not come to be, as a sentence. */
  about: string;
  error: ForgeError;
}

let last = $state.raw<Failure>();

export const failures = {
  get last() {
    return last;
  },
  report(about: string, error: ForgeError): void {
    last = { about, error };
  },
  dismiss(): void {
    last = undefined;
  },
};

/** Waits for a change that shows already; says whether it came to be, and reports it when it did not. */
export async function attempt(about: string, made: Promise<unknown>): Promise<boolean> {
  failures.dismiss();
  try {
    await made;
    return true;
  } catch (cause) {
    if (!(cause instanceof ForgeError)) throw cause;
    // Whoever signs out knows that nothing more is done.
    if (cause.code !== 'CANCELLED') failures.report(about, cause);
    announce(about);
    return false;
  }
}
