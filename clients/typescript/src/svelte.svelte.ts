/**
 * The client in Svelte 5 components: live queries that follow their arguments, and calls whose progress the template can
 * show. Safe while a page is rendered on the server: nothing is fetched there (a live query is `loading`, and is asked
 * for by the browser), and nobody's client is shared.
 */

import { getContext, setContext, untrack } from 'svelte';
import { createSubscriber } from 'svelte/reactivity';

import {
  type CallArgs,
  type CallOptions,
  type ConnectionStatus,
  type ServerEventListener,
  type ForgeClient,
  type ForgeError,
  type ForgeFunction,
  type FunctionKind,
  type Job,
  type JobSnapshot,
  type JobStatus,
  type PresenceMember,
  type Optimistic,
  type Outbox,
  type Presence,
  type Query,
  type Snapshot,
  type Subscription,
  createForgeClient,
} from './client.js';
import { keyOf } from './functions.js';
import { NO_NEWS } from './jobs.js';
import { NOTHING } from './subscriptions.js';

/** Options of {@link live}, {@link call} and {@link load}. */
export interface UseOptions {
  /** The client to use. Default: the one that a component above provided, else one for the page's own origin. */
  client?: ForgeClient | undefined;
  /** How long each call may take, in milliseconds. Default: the client's. A live query has no such limit. */
  timeout?: number | undefined;
}

/** Options of {@link live}. */
export interface LiveSetup extends UseOptions {
  /** Is told the events that the back end sends to those who are subscribed to the query. */
  onEvent?: ServerEventListener | undefined;
}

/** Options of {@link call}. */
export interface CallSetup<Args> extends UseOptions {
  /** Shows what each call will change before the back end has done it; taken back when the call fails. */
  optimistic?: Optimistic<Args> | undefined;
  /** Where calls wait for their turn, and for the back end when that cannot be reached. */
  outbox?: Outbox | undefined;
}

/** A query's result, kept as the back end has it. */
export interface LiveQuery<Result> {
  /**
   * The result, with what is expected of calls under way. Kept while the connection is down, and while the result for
   * other arguments is on its way; nothing while there are no arguments.
   */
  readonly data: Result | undefined;
  /** Whether the result for the arguments as they are now is on its way. */
  readonly loading: boolean;
  /** Why there is no result, or no newer one. */
  readonly error: ForgeError | undefined;
  /** Whether the result may be outdated, because the connection is down or was until a moment ago. */
  readonly stale: boolean;
  /** How the connection is. */
  readonly status: ConnectionStatus;
  /** When the back end last said what the result is. */
  readonly updatedAt: Date | undefined;
  /** Asks again, when it has failed. */
  retry(): void;
  /** Ends it for good. What a component has made ends with the component. */
  stop(): void;
}

/** Who is present at a query. */
export interface Present<State> {
  /** Everybody who is there, oneself included. Kept while the connection is down. */
  readonly members: readonly PresenceMember<State>[];
  /** Why it is not known who is there. */
  readonly error: ForgeError | undefined;
  /** Whether others may have come and gone meanwhile, because the connection is down or was until a moment ago. */
  readonly stale: boolean;
}

/** How a job stands. */
export interface TrackedJob<Output> {
  /** Where it is; nothing before that is known, and while there is no job. */
  readonly status: JobStatus | undefined;
  /** How far it says to be, in percent; 100 once it is completed. */
  readonly progress: number | undefined;
  /** Its words for that. */
  readonly message: string | undefined;
  /** What it gives back, once it is completed. */
  readonly output: Output | undefined;
  /** Why its last attempt failed, or why it cannot be followed. */
  readonly error: ForgeError | undefined;
  /** How often it was begun. */
  readonly attempt: number;
  /** Whether there will be no more news: it has ended, or cannot be followed. */
  readonly done: boolean;
  /** Whether it may have got on meanwhile, because the connection is down. */
  readonly stale: boolean;
}

/** How the connection is, for a note on the page that says so. */
export interface ConnectionState {
  readonly status: ConnectionStatus;
  /** When the next attempt is made, while it is `offline`. */
  readonly retryAt: Date | undefined;
  /** How many calls of the outbox have not been answered. */
  readonly waiting: number;
  /** Makes the next attempt now. */
  retry(): void;
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

/** What follows the query in {@link live} and {@link load}: a function that gives the arguments, then options. */
export type LoadArgs<Args, Options = UseOptions> = [Args] extends [void]
  ? [args?: undefined, options?: Options]
  : {} extends Args
    ? [args?: () => Args | null | undefined, options?: Options]
    : [args: () => Args | null | undefined, options?: Options];

/** What is known of a query that is not asked. */
const IDLE: Snapshot<never> = { ...NOTHING, loading: false };

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
  options: CallSetup<NoInfer<Args>> = {},
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
        optimistic: options.optimistic as Optimistic<unknown> | undefined,
        outbox: options.outbox,
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
 * Keeps a query's result as the back end has it, for the arguments as they are now. While the function that gives them
 * gives `null` or `undefined`, nothing is subscribed to. Ends with the component that made it; made elsewhere, it goes
 * on until `stop()` is called.
 */
export function live<Args, Result>(
  fn: Query<Args, Result>,
  ...rest: LoadArgs<NoInfer<Args>, LiveSetup>
): LiveQuery<Result>;
export function live<Result>(
  fn: Query<unknown, Result>,
  args: () => unknown = () => ({}),
  options: LiveSetup = {},
): LiveQuery<Result> {
  const client = options.client ?? useForge();
  let stopped = $state(false);
  // The text, so that an equal object counts as no change.
  const wanted = $derived.by(() => {
    const now = args();
    return now === undefined || now === null ? undefined : keyOf(fn.name, now);
  });
  let snapshot = $state.raw<Snapshot<Result>>(untrack(() => wanted) === undefined ? IDLE : NOTHING);
  let status = $state<ConnectionStatus>('closed');
  let subscription: Subscription<Result> | undefined;

  function follow(): (() => void) | undefined {
    if (stopped) return undefined;
    if (wanted === undefined) {
      snapshot = IDLE;
      return undefined;
    }
    return untrack(() => {
      snapshot = { ...snapshot, loading: true, error: undefined };
      // What is shown stays until there is news for these arguments.
      const own = client.subscribe(fn, args(), (now) => (snapshot = now));
      const unlisten = options.onEvent && client.on(fn, args(), options.onEvent);
      subscription = own;
      const unwatch = client.connection.onChange((now) => (status = now));
      status = client.connection.status;
      leave = () => {
        unwatch();
        unlisten?.();
        own.stop();
      };
      return leave;
    });
  }

  let leave = () => {};
  let end = () => {};
  try {
    // Before the page is updated, so that it never shows new arguments beside an old result as if they belonged together.
    $effect.pre(follow);
  } catch (cause) {
    if (!String(cause).includes('effect_orphan')) throw cause;
    // Nothing that could end is being set up.
    end = $effect.root(() => {
      $effect.pre(follow);
    });
  }

  return {
    get data() {
      return snapshot.data;
    },
    get loading() {
      return snapshot.loading;
    },
    get error() {
      return snapshot.error;
    },
    get stale() {
      return snapshot.stale;
    },
    get status() {
      return status;
    },
    get updatedAt() {
      return snapshot.updatedAt;
    },
    retry: () => subscription?.retry(),
    stop() {
      stopped = true;
      leave();
      end();
      if (snapshot.loading) snapshot = { ...snapshot, loading: false };
    },
  };
}

/**
 * Is present at a query for the arguments as they are now, with something to say of oneself, and knows who else is. With
 * `null` to say one only watches. While the function that gives the arguments gives `null` or `undefined`, one is nowhere. To be called while a component is set
 * up; ends with it.
 */
export function present<Args, Result, State>(
  fn: Query<Args, Result>,
  args: () => NoInfer<Args> | null | undefined,
  state: () => State | null,
  options: UseOptions = {},
): Present<State> {
  const client = options.client ?? useForge();
  const wanted = $derived.by(() => {
    const now = args();
    return now === undefined || now === null ? undefined : keyOf(fn.name, now);
  });
  let snapshot = $state.raw<Snapshot<PresenceMember<State>[]>>(IDLE);
  let presence = $state.raw<Presence<State>>();

  $effect.pre(() => {
    snapshot = IDLE;
    if (wanted === undefined) return undefined;
    return untrack(() => {
      const now = args() as Args;
      const own = client.presence(fn, now, state(), (news) => (snapshot = news));
      presence = own;
      return () => own.stop();
    });
  });
  $effect.pre(() => presence?.set(state()));

  return {
    get members() {
      return snapshot.data ?? [];
    },
    get error() {
      return snapshot.error;
    },
    get stale() {
      return snapshot.stale;
    },
  };
}

/**
 * Follows a job, whose id is that of the moment: what a function that dispatched it gave. While the function that gives it gives
 * `null` or `undefined`, none is followed. To be called while a component is set up; ends with it.
 */
export function trackJob<Output>(
  job: Job<Output>,
  jobId: () => string | null | undefined,
  options: UseOptions = {},
): TrackedJob<Output> {
  const client = options.client ?? useForge();
  const wanted = $derived(jobId() ?? undefined);
  let snapshot = $state.raw<JobSnapshot<Output>>(NO_NEWS);

  // Before the page is updated, so that it never shows one job's progress as another's.
  $effect.pre(() => {
    snapshot = NO_NEWS;
    const id = wanted;
    if (id === undefined) return undefined;
    return untrack(() => {
      const tracker = client.trackJob(job, id, (now) => (snapshot = now));
      return () => tracker.stop();
    });
  });

  return {
    get status() {
      return snapshot.status;
    },
    get progress() {
      return snapshot.progress;
    },
    get message() {
      return snapshot.message;
    },
    get output() {
      return snapshot.output;
    },
    get error() {
      return snapshot.error;
    },
    get attempt() {
      return snapshot.attempt;
    },
    get done() {
      return snapshot.done;
    },
    get stale() {
      return snapshot.stale;
    },
  };
}

/** How the connection is, and, given an outbox, what waits for it. */
export function connection(options: UseOptions & { outbox?: Outbox } = {}): ConnectionState {
  const { connection: own } = options.client ?? useForge();
  const { outbox } = options;
  const statusRead = createSubscriber((update) => own.onChange(update));
  const outboxRead = createSubscriber((update) => outbox?.onChange(update));
  return {
    get status() {
      statusRead();
      return own.status;
    },
    get retryAt() {
      statusRead();
      return own.retryAt;
    },
    get waiting() {
      outboxRead();
      return outbox?.size ?? 0;
    },
    retry: () => own.retry(),
  };
}

/**
 * Asks a query, and asks again whenever its arguments change. While the function that gives them gives `null` or
 * `undefined`, nothing is asked. To be called while a component is set up; what is under way when the component goes is aborted.
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
  const wanted = $derived(JSON.stringify(args() ?? undefined));
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
