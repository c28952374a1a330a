/**
 * Descriptions of the back end's functions. Generated code makes one constant per function; a call is checked against
 * the types that the constant carries.
 */

declare const types: unique symbol;

/** Queries read, mutations write in one transaction, actions talk to the outside world. */
export type FunctionKind = 'query' | 'mutation' | 'action';

/** A function of the back end: its name there, its kind, and the types of its arguments and its result. */
export interface ForgeFunction<Kind extends FunctionKind, Args, Result> {
  readonly kind: Kind;
  readonly name: string;
  /** For the type checker only: no object has it. */
  readonly [types]?: (args: Args) => Result;
}

/** A function that reads. */
export type Query<Args, Result> = ForgeFunction<'query', Args, Result>;

/** A function that writes, all of it or nothing. */
export type Mutation<Args, Result> = ForgeFunction<'mutation', Args, Result>;

/** A function that talks to the outside world. It is never repeated on its own. */
export type Action<Args, Result> = ForgeFunction<'action', Args, Result>;

/** A job of the back end, for whoever follows one: its name there, and the type of what it gives back. */
export interface Job<Result> {
  readonly kind: 'job';
  readonly name: string;
  /** For the type checker only: no object has it. */
  readonly [types]?: () => Result;
}

/** What follows the function in a call: arguments, unless it takes none or needs none, then options. */
export type CallArgs<Args, Options> = [Args] extends [void]
  ? [args?: undefined, options?: Options]
  : {} extends Args
    ? [args?: Args, options?: Options]
    : [args: Args, options?: Options];

/** Describes a query. */
export function query<Args, Result>(name: string): Query<Args, Result> {
  return { kind: 'query', name };
}

/** Describes a mutation. */
export function mutation<Args, Result>(name: string): Mutation<Args, Result> {
  return { kind: 'mutation', name };
}

/** Describes an action. */
export function action<Args, Result>(name: string): Action<Args, Result> {
  return { kind: 'action', name };
}

/** Describes a job. */
export function job<Result>(name: string): Job<Result> {
  return { kind: 'job', name };
}

/** A text that is the same for equal arguments of the same function, in whatever order their fields were written. */
export function keyOf(name: string, args: unknown): string {
  // Twice: the first time drops what JSON does not have, so that equal messages have equal keys.
  const plain: unknown = JSON.parse(JSON.stringify(args ?? {}));
  const sorted = JSON.stringify(plain, (_, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );
  return `${name} ${sorted}`;
}
