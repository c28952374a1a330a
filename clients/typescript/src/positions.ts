/**
 * How far the data had come when this client's own writes were answered. Sent with every later call, so that a read
 * from a replica sees them. A position is opaque, so two of them cannot be compared: those of writes that overlapped
 * are all kept (and joined with commas), and an answer replaces those that had arrived before its call began.
 */
export class Positions {
  #clock = 0;
  #known: { position: string; answered: number }[] = [];

  /** A call begins. */
  begin(): number {
    return ++this.#clock;
  }

  /** A call that began then is answered with this position, if with any. */
  answer(began: number, position: string | null): void {
    if (!position) return;
    this.#known = this.#known.filter(
      (known) => known.answered > began && known.position !== position,
    );
    this.#known.push({ position, answered: ++this.#clock });
  }

  /** What to send. */
  toString(): string {
    return this.#known.map((known) => known.position).join(',');
  }
}
