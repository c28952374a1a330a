/** The time, for what is drawn anew as it passes. */

import { createSubscriber } from 'svelte/reactivity';

/** Calls back at intervals, for as long as something on the page reads the time. */
const ticking = (interval: number) =>
  createSubscriber((update) => {
    const timer = setInterval(update, interval);
    return () => clearInterval(timer);
  });

const minutes = ticking(60_000);
const seconds = ticking(1_000);

/** Now, told anew every minute. */
export function byMinute(): number {
  minutes();
  return Date.now();
}

/** Now, told anew every second. */
export function bySecond(): number {
  seconds();
  return Date.now();
}
