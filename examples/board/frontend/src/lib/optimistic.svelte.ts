/**
 * A query's result as it will be once the changes that are under way have arrived: what people do shows at once, and is
 * taken back when the back end refuses it.
 */

import type { ForgeError, Loaded } from './forge';

type Change<T> = (now: T) => T;

export function optimistic<T>(loaded: Loaded<T>) {
  let changes = $state.raw<Change<T>[]>([]);
  let error = $state.raw<ForgeError>();
  let earlier: Promise<unknown> = Promise.resolve();
  const data = $derived(
    loaded.data === undefined ? undefined : changes.reduce<T>((now, change) => change(now), loaded.data),
  );

  return {
    get data() {
      return data;
    },
    /** Why the last change was taken back. */
    get error() {
      return error;
    },
    /** Whether changes are under way. */
    get pending() {
      return changes.length > 0;
    },
    dismiss(): void {
      error = undefined;
    },
    /** Shows the change, sends it once those before it have arrived, and says whether it was accepted. */
    async apply(change: Change<T>, send: () => Promise<unknown>): Promise<boolean> {
      changes = [...changes, change];
      error = undefined;
      const sent = earlier.then(send);
      // The next one is sent after this one, whatever becomes of it.
      earlier = sent.catch(() => {});
      let accepted = true;
      try {
        await sent;
      } catch (cause) {
        error = cause as ForgeError;
        accepted = false;
      }
      // What is shown stays until the back end's own view of it is there.
      await loaded.reload();
      changes = changes.filter((other) => other !== change);
      return accepted;
    },
  };
}
