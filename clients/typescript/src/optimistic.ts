/**
 * What people do shows before the back end has done it. Each call lays a layer of changes over the results of queries;
 * results that arrive meanwhile go below it. A layer is taken away in the very moment in which a result that contains
 * the effect arrives, so that the old value never shows in between, or when the call fails.
 *
 * When that moment is:
 *
 * - called over the connection: with the frame that acknowledges the mutation;
 * - when the connection broke before that frame: for each query with the result that it is given anew;
 * - called over HTTP, or an action, which no frame acknowledges: with the first frame after the answer that brings
 *   anything for a query of the layer, at the latest {@link UNACKNOWLEDGED} milliseconds after the answer.
 */

import { type Query, keyOf } from './functions.js';

/**
 * Says what a call will change. Called once, when the call is made; its changes are then applied anew to every result
 * that arrives. An id or a time that it makes up therefore stays the same.
 */
export type Optimistic<Args> = (q: OptimisticQueries, args: Args) => void;

/** Names the result of a query to change. Of queries that nobody is subscribed to, nothing shows. */
export type OptimisticQueries = <Args, Result>(
  fn: Query<Args, Result>,
  ...args: [Args] extends [void] ? [args?: undefined] : [args: NoInfer<Args>]
) => OptimisticResult<Result>;

/** One row of a result that is a list. */
export type Row<Result> = Result extends readonly (infer One)[] ? One : never;

/** A result to change. Values are never changed in place: each method takes what there will be instead. */
export interface OptimisticResult<Result> {
  /** What shows now, or nothing when there is no result yet. */
  readonly data: Result | undefined;
  /** Puts another value in its place. */
  set(next: Result): this;
  /** Makes another value out of it. */
  update(change: (now: Result) => Result): this;
  /** Adds rows at the end of a list. */
  append(...rows: Row<Result>[]): this;
  /** Adds rows at the beginning of a list. */
  prepend(...rows: Row<Result>[]): this;
  /** Changes the rows of a list that match: sets fields, or makes another row. */
  change(
    match: (row: Row<Result>) => boolean,
    change: Partial<Row<Result>> | ((row: Row<Result>) => Row<Result>),
  ): this;
  /** Takes the rows that match from a list. */
  remove(match: (row: Row<Result>) => boolean): this;
}

/** A change to one result. */
type Step = (now: unknown) => unknown;

/** What one call changes, by the keys of the queries. */
type Steps = Map<string, Step[]>;

/** For how long an acknowledgement is waited for after the answer, in milliseconds, and how long without hope for one. */
const ACKNOWLEDGED = 10_000;
const UNACKNOWLEDGED = 2_000;

interface Layer {
  id: string;
  steps: Steps;
  /** When the answer came, counted in subscriptions that had been asked for. */
  answered: number | undefined;
  /** Whether no frame will acknowledge it. */
  loose: boolean;
  /** Whether results may already contain the effect, while it is not known if there is one. */
  uncertain: boolean;
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** Lets the app say what it expects. `view` gives what a query shows now. */
export function expect<Args>(
  optimistic: Optimistic<Args>,
  args: Args,
  view: (key: string) => unknown,
): Steps {
  const steps: Steps = new Map();
  const query = (fn: { name: string }, queryArgs?: unknown): unknown => {
    const key = keyOf(fn.name, queryArgs);
    return new Expected(
      () => applied(view(key), steps.get(key) ?? []),
      (step) => steps.set(key, [...(steps.get(key) ?? []), step]),
    );
  };
  optimistic(query as OptimisticQueries, args);
  return steps;
}

type AnyRow = { [field: string]: unknown };

class Expected {
  readonly #now: () => unknown;
  readonly #add: (step: Step) => void;

  constructor(now: () => unknown, add: (step: Step) => void) {
    this.#now = now;
    this.#add = add;
  }

  get data(): unknown {
    return this.#now();
  }

  set(next: unknown): this {
    return this.update(() => next);
  }

  update(change: Step): this {
    this.#add(change);
    return this;
  }

  append(...rows: unknown[]): this {
    return this.#rows((now) => [...now, ...rows]);
  }

  prepend(...rows: unknown[]): this {
    return this.#rows((now) => [...rows, ...now]);
  }

  change(match: (row: AnyRow) => boolean, change: AnyRow | ((row: AnyRow) => unknown)): this {
    const changed = (row: AnyRow) =>
      typeof change === 'function' ? change(row) : { ...row, ...change };
    return this.#rows((now) => now.map((row) => (match(row) ? changed(row) : row)));
  }

  remove(match: (row: AnyRow) => boolean): this {
    return this.#rows((now) => now.filter((row) => !match(row)));
  }

  #rows(change: (now: AnyRow[]) => unknown[]): this {
    return this.update((now) => (Array.isArray(now) ? change(now as AnyRow[]) : now));
  }
}

/** The layers over the results of one client, oldest first. */
export class Layers {
  #layers: Layer[] = [];
  readonly #changed: (keys: Iterable<string>) => void;

  /** `changed` is told the queries that show something else without a frame having arrived. */
  constructor(changed: (keys: Iterable<string>) => void) {
    this.#changed = changed;
  }

  /** What a query shows whose result is this one. */
  over(key: string, result: unknown): unknown {
    return this.#layers.reduce((now, layer) => applied(now, layer.steps.get(key) ?? []), result);
  }

  /** Whether newer results of a query have to wait, because one of its layers might show twice over them. */
  holds(key: string): boolean {
    return this.#layers.some((layer) => layer.uncertain && layer.steps.has(key));
  }

  /** A call begins. */
  add(id: string, steps: Steps): void {
    this.#layers.push({
      id,
      steps,
      answered: undefined,
      loose: false,
      uncertain: false,
      timer: undefined,
    });
    this.#changed(steps.keys());
  }

  /** The connection broke after the call was sent. */
  interrupted(id: string): void {
    const layer = this.#find(id);
    if (layer) layer.uncertain = true;
  }

  /** The call failed. */
  failed(id: string): void {
    const layer = this.#find(id);
    if (layer) this.#drop(layer);
  }

  /** The call succeeded. `asked` counts the subscriptions asked for so far, `present` are those that there are. */
  succeeded(
    id: string,
    acknowledged: boolean,
    asked: number,
    present: (key: string) => boolean,
  ): void {
    const layer = this.#find(id);
    if (!layer) return;
    // A frame may have said so before.
    layer.answered ??= asked;
    layer.loose = !acknowledged;
    // Whoever asks from now on is told the effect.
    for (const key of layer.steps.keys()) if (!present(key)) layer.steps.delete(key);
    if (layer.steps.size === 0) this.#drop(layer);
    else {
      // After an interruption the effect may have been in a result already, before there could be a word about it.
      const patience = acknowledged && !layer.uncertain ? ACKNOWLEDGED : UNACKNOWLEDGED;
      layer.timer = setTimeout(() => this.#drop(layer), patience);
    }
  }

  /**
   * A frame arrived: results of these queries, each with the number that its subscription was asked for under, and
   * acknowledgements, which do not count yet for queries whose result could not be used. Gives the queries that show
   * something else without having been in the frame.
   */
  framed(
    results: ReadonlyMap<string, number>,
    acks: ReadonlySet<unknown>,
    unusable: ReadonlySet<string>,
    asked: number,
  ): string[] {
    const others: string[] = [];
    for (const layer of [...this.#layers]) {
      const touched = [...layer.steps.keys()].some((key) => results.has(key));
      const done = acks.has(layer.id) || (layer.loose && touched);
      if (done) layer.answered ??= asked;
      for (const key of layer.steps.keys()) {
        const since = results.get(key);
        const anew = since !== undefined && layer.answered !== undefined && since > layer.answered;
        if (!anew && (!done || unusable.has(key))) continue;
        layer.steps.delete(key);
        others.push(key);
      }
      if (layer.steps.size === 0) this.#remove(layer);
    }
    return others;
  }

  /** Takes everything away. */
  clear(): void {
    for (const layer of [...this.#layers]) this.#remove(layer);
  }

  #find(id: string): Layer | undefined {
    return this.#layers.find((layer) => layer.id === id);
  }

  #drop(layer: Layer): void {
    this.#remove(layer);
    this.#changed(layer.steps.keys());
  }

  #remove(layer: Layer): void {
    clearTimeout(layer.timer);
    this.#layers = this.#layers.filter((other) => other !== layer);
  }
}

function applied(value: unknown, steps: readonly Step[]): unknown {
  let now = value;
  for (const step of steps) {
    // Nothing is expected of a result that is not there yet.
    if (now === undefined) return undefined;
    try {
      now = step(now);
    } catch (cause) {
      // The app expected a result of another shape: what the back end says shows instead.
      report(cause);
    }
  }
  return now;
}

/** Reports what a function of the app threw, as an uncaught error: nobody here can handle it. */
export function report(cause: unknown): void {
  if (typeof reportError === 'function') reportError(cause);
  else
    setTimeout(() => {
      throw cause;
    });
}
