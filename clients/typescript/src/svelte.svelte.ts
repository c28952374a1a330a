/**
 * The client in Svelte 5 components: calls whose progress the template can show, and queries that follow their
 * arguments. Safe while a page is rendered on the server: nothing is fetched there, and nobody's client is shared.
 */

import { getContext, setContext, untrack } from 'svelte';

import {
  type CallArgs,
  type CallOptions,
  type ForgeClient,
  type ForgeError,
  type ForgeFunction,
  type FunctionKind,
  type Query,
  createForgeClient,
} from './client.js';

/** Options of {@link call} and {@link load}. */
export interface UseOptions {
  /** The client to use. Default: the one that a component above provided, else one for the page's own origin. */
  client?: ForgeClient | undefined;
  /** How long each call may take, in milliseconds. Default: the client's. */
  timeout?: number | undefined;
}

/** A function of the back end that can be called like one of the page, and says how its last call went. */
export interface Call<Args, Result> {
  /** Calls it. Rejects with a `ForgeError`, which need not be caught when the page shows `error`. */
  (...args: CallArgs<Args, CallOptions>): Promise<Result>;
  /** Whether a call is under way. */
  readonly pending: boolean;
  /** Why the last call failed; nothing when it did not, and while the next one is under way. */
  readonly error: ForgeError | undefined;
  /** What the last call that succeeded gave. */
  readonly data: Result | undefined;
}

/** A query's result, as it is now for the arguments as they are now. */
export interface Loaded<Result> {
  /** The last result. Kept while another is on its way; nothing when there are no arguments. */
  readonly data: Result | undefined;
  /** Whether a result is on its way. */
  readonly loading: boolean;
  /** Why there is no newer result. */
  readonly error: ForgeError | undefined;
  /** Asks again. The promise ends, and never rejects, when `data` or `error` is there, or another call came between. */
  reload(): Promise<void>;
}

/** What follows the query in {@link load}: a function that gives the arguments, then options. */
export type LoadArgs<Args> = [Args] extends [void]
  ? [args?: undefined, options?: UseOptions]
  : {} extends Args
    ? [args?: () => Args | undefined, options?: UseOptions]
    : [args: () => Args | undefined, options?: UseOptions];

const provided = Symbol('forge client');
let shared: ForgeClient | undefined;

/** Makes a client the one that components below use. To be called while a component (the root layout) is set up. */
export function provideForge(client: ForgeClient): ForgeClient {
  return setContext(provided, client);
}

/** The client that applies here: provided by a component above, else one for the page's own origin. */
export function useForge(): ForgeClient {
  let found: ForgeClient | undefined;
  try {
    found = getContext<ForgeClient | undefined>(provided);
  } catch {
    // Svelte throws when no component is being set up: then none can have provided a client.
  }
  // Not shared on a server, where one process renders pages for many people.
  return (
    found ??
    (typeof document === 'undefined' ? createForgeClient() : (shared ??= createForgeClient()))
  );
}

/** Makes a function of the back end callable from the page. */
export function call<Args, Result>(
  fn: ForgeFunction<FunctionKind, Args, Result>,
  options: UseOptions = {},
): Call<Args, Result> {
  const client = options.client ?? useForge();
  let running = $state(0);
  let error = $state.raw<ForgeError>();
  let data = $state.raw<Result>();
  let latest = 0;

  async function run(...[args, given]: [args?: unknown, given?: CallOptions]): Promise<Result> {
    const own = ++latest;
    // Untracked: an effect that calls this does not depend on how the call goes.
    untrack(() => {
      running += 1;
      error = undefined;
    });
    try {
      const result = await client.call(fn as ForgeFunction<FunctionKind, unknown, Result>, args, {
        timeout: options.timeout,
        ...given,
      });
      if (own === latest) data = result;
      return result;
    } catch (cause) {
      if (own === latest) error = cause as ForgeError;
      throw cause;
    } finally {
      running -= 1;
    }
  }

  const callable = (...args: [args?: unknown, given?: CallOptions]): Promise<Result> => {
    const result = run(...args);
    // The failure is in `error`; whoever awaits the result is told as well, but nobody has to.
    result.catch(() => {});
    return result;
  };
  Object.defineProperties(callable, {
    pending: { get: () => running > 0 },
    error: { get: () => error },
    data: { get: () => data },
  });
  return callable as unknown as Call<Args, Result>;
}

/**
 * Asks a query, and asks again whenever its arguments change. While the function that gives them gives `undefined`,
 * nothing is asked. To be called while a component is set up; what is under way when the component goes is aborted.
 */
export function load<Args, Result>(
  fn: Query<Args, Result>,
  ...rest: LoadArgs<NoInfer<Args>>
): Loaded<Result>;
export function load<Result>(
  fn: Query<unknown, Result>,
  args: () => unknown = () => ({}),
  options: UseOptions = {},
): Loaded<Result> {
  const client = options.client ?? useForge();
  // The text, so that an equal object counts as no change.
  const wanted = $derived(JSON.stringify(args()));
  let data = $state.raw<Result>();
  let error = $state.raw<ForgeError>();
  let loading = $state(untrack(() => wanted !== undefined));
  let alive = false;
  let current: AbortController | undefined;

  async function ask(): Promise<void> {
    current?.abort();
    const controller = new AbortController();
    current = controller;
    loading = true;
    error = undefined;
    try {
      const result = await client.query(fn, args(), {
        signal: controller.signal,
        timeout: options.timeout,
      });
      if (current === controller) data = result;
    } catch (cause) {
      if (current === controller) error = cause as ForgeError;
    } finally {
      if (current === controller) loading = false;
    }
  }

  function stop(): void {
    current?.abort();
    current = undefined;
    loading = false;
  }

  // Before the page is updated, so that it never shows new arguments beside an old result as if they belonged together.
  $effect.pre(() => {
    alive = true;
    if (wanted !== undefined) untrack(() => void ask());
    else {
      data = undefined;
      error = undefined;
    }
    return () => {
      alive = false;
      stop();
    };
  });

  return {
    get data() {
      return data;
    },
    get loading() {
      return loading;
    },
    get error() {
      return error;
    },
    reload: () => (alive && untrack(() => wanted) !== undefined ? untrack(ask) : Promise.resolve()),
  };
}
