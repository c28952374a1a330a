/** Notices that the other end of a connection has gone without saying so. */

/** How long opening may take, and how long the answer to a ping, in milliseconds. */
const OPENING = 15_000;
const ANSWERING = 10_000;

/** The sign of life of one connection after another. */
export class Heartbeat {
  #timer: ReturnType<typeof setTimeout> | undefined;
  #heardAt = 0;
  #answered = true;
  readonly #interval: number;
  readonly #ask: () => void;
  readonly #dead: () => void;

  /** After `interval` milliseconds of silence `ask` asks for an answer; `dead` is called when there is none. */
  constructor(interval: number, ask: () => void, dead: () => void) {
    this.#interval = interval;
    this.#ask = ask;
    this.#dead = dead;
  }

  /** A connection is being opened. */
  opening(): void {
    this.#watch(OPENING, this.#dead);
  }

  /** Something was heard. */
  heard(): void {
    this.#heardAt = performance.now();
    this.#answered = true;
  }

  /** The connection is open: asks whenever nothing was heard for a while. */
  beat(): void {
    const quiet = performance.now() - this.#heardAt;
    if (quiet >= this.#interval) this.probe(Math.min(this.#interval, ANSWERING));
    else this.#watch(this.#interval - quiet, () => this.beat());
  }

  /** Asks now, because timers may have slept. */
  probe(patience = ANSWERING / 2): void {
    this.#answered = false;
    this.#ask();
    this.#watch(patience, () => (this.#answered ? this.beat() : this.#dead()));
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #watch(delay: number, then: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, delay);
  }
}
