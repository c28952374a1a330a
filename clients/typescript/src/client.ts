/**
 * The client of a FORGE back end: calls its functions, and subscribes to queries. Needs nothing but `fetch` and, for
 * subscriptions, `WebSocket`, and touches nothing of the page when it is imported, so that it runs in browsers, workers
 * and servers alike.
 */

import { type Answer, isRefusal, readAnswer } from './answer.js';
import type { LiveOptions } from './connection.js';
import { ForgeError, mayPass, why } from './error.js';
import type {
  Action,
  CallArgs,
  ForgeFunction,
  FunctionKind,
  Job,
  Mutation,
  Query,
} from './functions.js';
import type { JobListener, JobTracker } from './jobs.js';
import { Live, type LiveConnection } from './live.js';
import type { Optimistic } from './optimistic.js';
import type { Outbox } from './outbox.js';
import { Patience } from './patience.js';
import { Positions } from './positions.js';
import { type GetToken, type Pass, Session } from './session.js';
import type { ServerEventListener, Listener, PresenceMember, Presence, Subscription } from './subscriptions.js';

export type { ConnectionStatus, LiveOptions, Transport } from './connection.js';
export { ForgeError } from './error.js';
export type { FieldErrors, ForgeErrorCode } from './error.js';
export { action, job, mutation, query } from './functions.js';
export type {
  Action,
  CallArgs,
  ForgeFunction,
  FunctionKind,
  Job,
  Mutation,
  Query,
} from './functions.js';
export type { JobListener, JobSnapshot, JobStatus, JobTracker } from './jobs.js';
export type { LiveConnection } from './live.js';
export type { Optimistic, OptimisticQueries, OptimisticResult } from './optimistic.js';
export { createOutbox } from './outbox.js';
export type { Outbox } from './outbox.js';
export type {
  ServerEventListener,
  Listener,
  PresenceMember,
  Presence,
  ServerEvent,
  Snapshot,
  Subscription,
} from './subscriptions.js';
export type { GetToken };

/** How to reach the back end, and as whom. Everything has a default. */
export interface ForgeClientOptions {
  /** Where the back end is: `https://api.example.org`. Default: where the page came from. */
  url?: string | undefined;
  /** The bearer token of whoever is signed in. Leave it out when cookies hold the session. */
  getToken?: GetToken | undefined;
  /**
   * Whether cookies hold the session, so that it is renewed when an answer says so, for all tabs at once. Default: yes
   * in a browser, unless there is `getToken`. Not on a server that renders a page: the browser would never get the new
   * cookies, and its old ones would be worth nothing.
   */
  cookies?: boolean | undefined;
  /**
   * Nobody is signed in any more: forget the user, show the sign-in page. Told once per session that ends, wherever that
   * was: the caller signed out, here or in another tab; it was ended from another place; it was not renewed in time.
   * Never told because the back end cannot be reached, or because somebody may not do something (`FORBIDDEN`).
   */
  onSignedOut?: ((why: ForgeError) => void) | undefined;
  /** Another `fetch`: the one that a framework hands out while it renders on the server, or one for tests. */
  fetch?: typeof fetch | undefined;
  /** How long a call may take altogether, repeats included, in milliseconds. Default 30,000; 0 for no limit. */
  timeout?: number | undefined;
  /** How often a query or a mutation is repeated when the back end cannot be reached. Default 2. */
  retries?: number | undefined;
  /** Which cookies go along, as `fetch` has it. Default `same-origin`. */
  credentials?: RequestCredentials | undefined;
  /** Headers to send with every call. With them, all calls go over HTTP: a connection has none. */
  headers?: Record<string, string> | (() => Record<string, string>) | undefined;
  /** How live queries reach the back end. */
  live?: LiveOptions | undefined;
}

/** What one call may say. */
export interface CallOptions {
  /**
   * Aborts the call, which then rejects with `CANCELLED`. What the back end had begun it rolls back, if it still can. A
   * call with a signal goes over HTTP.
   */
  signal?: AbortSignal | undefined;
  /** As in {@link ForgeClientOptions.timeout}. */
  timeout?: number | undefined;
  /** `false` to call as nobody: no token is sent, and a 401 is an ordinary error. For signing in, and in `getToken`. */
  auth?: boolean | undefined;
  /** The id that makes a repeat of this mutation safe. Default: a new one for every call. */
  mutationId?: string | undefined;
}

/** What a call that changes something may say. */
export interface ChangeOptions<Args> extends CallOptions {
  /** Shows what the call will change before the back end has done it; taken back when the call fails. */
  optimistic?: Optimistic<Args> | undefined;
  /**
   * Where the call waits for its turn, and for the back end when that cannot be reached. `timeout` is then that of each
   * attempt. Not for actions, which cannot be repeated.
   */
  outbox?: Outbox | undefined;
}

/** A client. Its methods may be passed around on their own. Every one of them rejects with {@link ForgeError} only. */
export interface ForgeClient {
  /** Calls a query. Repeated when the back end cannot be reached. */
  query<Args, Result>(
    fn: Query<Args, Result>,
    ...args: CallArgs<NoInfer<Args>, CallOptions>
  ): Promise<Result>;
  /**
   * Calls a mutation. Repeated when the back end cannot be reached: its id lets the back end do it only once. Over the
   * connection it resolves when what it did is in the results of all live queries, at the latest two seconds after the
   * answer; over HTTP, at the answer.
   */
  mutate<Args, Result>(
    fn: Mutation<Args, Result>,
    ...args: CallArgs<NoInfer<Args>, ChangeOptions<NoInfer<Args>>>
  ): Promise<Result>;
  /** Calls an action. Never repeated, unless the back end has refused the token before it began. */
  action<Args, Result>(
    fn: Action<Args, Result>,
    ...args: CallArgs<NoInfer<Args>, ChangeOptions<NoInfer<Args>>>
  ): Promise<Result>;
  /** Calls a function of any kind, by the rules of its kind. */
  call<Args, Result>(
    fn: ForgeFunction<FunctionKind, Args, Result>,
    ...args: CallArgs<NoInfer<Args>, ChangeOptions<NoInfer<Args>>>
  ): Promise<Result>;
  /**
   * Reads a query's result now and whenever it changes, until stopped. Equal queries share one subscription; when a
   * result is there already, the listener is called with it before this returns. Throws only when JSON cannot say the
   * arguments (`INVALID_ARGUMENT`): what else goes wrong is in the snapshot.
   */
  subscribe<Args, Result>(
    fn: Query<Args, Result>,
    args: NoInfer<Args>,
    listener: Listener<Result>,
  ): Subscription<Result>;
  /**
   * Listens to the events that the back end sends to those who are subscribed to a query; subscribes to it as well. Gives
   * what ends that.
   */
  on<Args, Result>(
    fn: Query<Args, Result>,
    args: NoInfer<Args>,
    listener: ServerEventListener,
  ): () => void;
  /**
   * Is present at a query with these arguments, with something to say of oneself, and reads who is, oneself included. With
   * `null` one only watches. Whoever may subscribe to the query may see who is there; so does this.
   */
  presence<Args, Result, State>(
    fn: Query<Args, Result>,
    args: NoInfer<Args>,
    state: State | null,
    listener: Listener<PresenceMember<State>[]>,
  ): Presence<State>;
  /**
   * Follows a job by its id, as a function that dispatched it gave it: for whoever dispatched it, and for who has a role that the
   * job names. To everybody else it does not exist (`NOT_FOUND`). Ends by itself when the job has ended.
   */
  trackJob<Output>(job: Job<Output>, jobId: string, listener: JobListener<Output>): JobTracker<Output>;
  /** The connection that subscriptions come over. */
  readonly connection: LiveConnection;
}

/** How long the renewal of a session may take, in milliseconds. It is nobody's call, and all calls may wait for it. */
const RENEWAL_MAX = 30_000;

/** One call, from its beginning to its end. */
interface OneCall {
  name: string;
  kind: FunctionKind;
  args: unknown;
  body: string;
  mutationId: string | undefined;
  patience: Patience;
  began: number;
  /** Whether it may be sent over the connection when that is open. */
  overConnection: boolean;
  /** Whether a frame of the connection will say that its effect is there. */
  acknowledged: boolean;
  /** Whether it begins or ends a session. */
  changesSession: boolean;
  /** How often the session had changed when it was first sent: whom it was sent for. */
  whom: number | undefined;
}

/** Longer messages, in characters, would keep others on the connection waiting. */
const LONGEST_MESSAGE = 64 * 1024;

/** Makes a client. */
export function createForgeClient(options: ForgeClientOptions = {}): ForgeClient {
  const base = (options.url ?? '').replace(/\/+$/, '');
  const credentials = options.credentials ?? 'same-origin';
  // Called as a plain function: a browser's `fetch` refuses to be a method of anything else.
  const send: typeof fetch = options.fetch ?? ((input, init) => fetch(input, init));
  const { getToken, onSignedOut } = options;
  const cookies = options.cookies ?? (!getToken && credentials !== 'omit' && inBrowser());
  const session = new Session({
    url: base,
    getToken,
    renewCookies: cookies ? renewCookies : undefined,
    onSignedOut,
  });
  const positions = new Positions();
  const outboxes = new Set<Outbox>();
  /** How often somebody has signed in, or out. */
  let sessions = 0;
  const http = {
    fetch: send,
    credentials,
    headers: (token: string | undefined) => authorize(plainHeaders(), token),
  };
  const live = new Live(base, http, options.live ?? {}, session, () => {
    // What somebody wanted to be done is not done as somebody else.
    sessions += 1;
    for (const outbox of outboxes) outbox.clear();
  });

  async function call(
    fn: ForgeFunction<FunctionKind, never, unknown>,
    args: unknown,
    given: ChangeOptions<unknown> = {},
  ): Promise<unknown> {
    const { name, kind } = fn;
    const { optimistic, outbox } = given;
    const body = toJson(name, args);
    const id = given.mutationId ?? newId();
    const once = () => callOnce(fn, args, body, id, given);
    if (outbox && kind === 'action')
      throw new ForgeError('CLIENT_ERROR', `${name} is an action: it cannot wait in an outbox`);
    try {
      if (optimistic) live.expect(id, optimistic, args);
      if (outbox) outboxes.add(outbox);
      const data = outbox
        ? await outbox.send(name, once, live.connection, given.signal)
        : await once();
      // Not part of its turn: the next one of the outbox is sent meanwhile.
      await live.shown(id);
      return data;
    } catch (cause) {
      if (optimistic) live.failed(id);
      if (cause instanceof ForgeError) throw cause;
      throw new ForgeError('CLIENT_ERROR', `${name} could not be called: ${why(cause)}`, { cause });
    }
  }

  /** Makes a call, with its repeats. */
  async function callOnce(
    { name, kind }: ForgeFunction<FunctionKind, never, unknown>,
    args: unknown,
    body: string,
    id: string,
    { signal, timeout, auth = true, optimistic }: ChangeOptions<unknown>,
  ): Promise<unknown> {
    const patience = new Patience(name, timeout ?? options.timeout ?? 30_000, signal);
    try {
      const request: OneCall = {
        name,
        kind,
        args,
        body,
        mutationId: kind === 'mutation' ? id : undefined,
        patience,
        began: positions.begin(),
        overConnection:
          auth && !signal && options.headers === undefined && body.length <= LONGEST_MESSAGE,
        acknowledged: false,
        changesSession: false,
        whom: undefined,
      };
      const data = await repeating(request, async () => {
        const answer = auth ? await authorized(request) : await attempt(request, session.bare());
        if (answer.error) throw answer.error;
        return answer.data;
      });
      if (optimistic) live.succeeded(id, request.acknowledged);
      if (request.changesSession) live.connection.restart();
      return data;
    } finally {
      patience.release();
    }
  }

  /** Tries, and tries again when that is safe and may help. */
  async function repeating(request: OneCall, once: () => Promise<unknown>): Promise<unknown> {
    const repeats = request.kind === 'action' ? 0 : (options.retries ?? 2);
    for (let done = 0; ; done++) {
      try {
        return await once();
      } catch (error) {
        if (!(error instanceof ForgeError) || !mayPass(error)) throw error;
        // What may have been done may be in results that arrive from now on.
        if (request.mutationId !== undefined) live.interrupted(request.mutationId);
        if (done >= repeats) throw error;
        // Between half and all of 0.25 s, 0.5 s, 1 s, ..: clients that were cut off together do not return together.
        const backoff = 250 * 2 ** Math.min(done, 6) * (0.5 + Math.random() / 2);
        const delay = Math.max(backoff, (error.retryAfter ?? 0) * 1000);
        if (delay >= request.patience.left) throw error;
        await request.patience.pause(delay);
        sameAsBefore(request);
      }
    }
  }

  /**
   * What was to be done is not tried again after somebody has signed in or out: it would be done as somebody else, and perhaps
   * for the second time, as an id of a mutation is good for one user. To read, and to sign in or out, is not to do.
   */
  function sameAsBefore({ name, kind, whom, changesSession }: OneCall): void {
    if (kind === 'query' || changesSession || whom === undefined || whom === sessions) return;
    throw new ForgeError('CANCELLED', `${name} was given up, as somebody has signed in or out since it was called`);
  }

  /** Tries as whoever is signed in; when their session has to be renewed for that, once more. */
  async function authorized(request: OneCall): Promise<Answer> {
    const { kind, patience } = request;
    let pass = await patience.for(session.pass());
    let answer = await overConnection(request, pass);
    if (!answer) {
      sameAsBefore(request);
      answer = await attempt(request, pass);
    }
    // Whatever was written for nobody is written; a query may as well be asked again.
    const again = kind === 'action' ? answer.refused : isRefusal(answer.error);
    if (again || (answer.session === 'renew' && kind === 'query')) {
      const other = await patience.for(session.renew(pass, answer));
      if (other) {
        // What was refused was not done, so nobody may do it, when their own session has ended.
        if (!session.isLost(other)) sameAsBefore(request);
        pass = other;
        answer = await attempt(request, pass);
      }
    }
    if (isRefusal(answer.error)) session.lose(pass, answer.error);
    return answer;
  }

  /** Sends the request over the connection, when that can be; gives nothing when it has to be sent over HTTP. */
  async function overConnection(request: OneCall, pass: Pass): Promise<Answer | undefined> {
    request.acknowledged = false;
    const open = request.overConnection && live.speaksFor(pass);
    // Now, as a pass that is the first of somebody else shows here that they have signed in.
    request.whom ??= sessions;
    if (!open) return undefined;
    // A replica must be told what the answer has to contain, and only HTTP says so.
    if (request.kind === 'query' && positions.toString() !== '') return undefined;
    try {
      const answer = await request.patience.for(live.call(request));
      if (!answer) return undefined;
      positions.answer(request.began, answer.position);
      request.acknowledged = request.kind === 'mutation';
      return { data: answer.data, error: undefined, session: null, refused: false };
    } catch (error) {
      if (!(error instanceof ForgeError)) throw error;
      // It begins or ends a session, so that nothing that was read before may stay.
      if (error.code === 'USE_HTTP') request.changesSession = true;
      // A refusal is answered where sessions are renewed; of an action, nobody knows whether it came from the action itself.
      else if (error.code !== 'UNAUTHORIZED' || request.kind === 'action') throw error;
      return undefined;
    }
  }

  /** Sends a call once. */
  async function attempt(request: OneCall, pass: Pass): Promise<Answer> {
    const path = `rpc/${encodeURIComponent(request.name)}`;
    const answered = post(path, request, headersOf(request, pass.token)).then(({ answer, headers }) => {
      positions.answer(request.began, headers.get('x-forge-position'));
      session.learn(answer, pass);
      return answer;
    });
    return request.changesSession ? session.change(answered) : answered;
  }

  /** Trades the cookies of the session for new ones, or learns that it has ended. */
  async function renewCookies(): Promise<'renewed' | 'ended'> {
    const name = 'the renewal of the session';
    const patience = new Patience(name, RENEWAL_MAX, undefined);
    try {
      const { answer } = await post('auth/refresh', { name, patience, body: '{}' }, plainHeaders());
      if (isRefusal(answer.error)) return 'ended';
      if (answer.error) throw answer.error;
      return 'renewed';
    } finally {
      patience.release();
    }
  }

  /** Sends a request and reads the answer. */
  async function post(
    path: string,
    { name, patience, body }: Pick<OneCall, 'name' | 'patience' | 'body'>,
    headers: Headers,
  ): Promise<{ answer: Answer; headers: Headers }> {
    const url = `${base}/${path}`;
    const { signal } = patience;
    try {
      const init: RequestInit = { method: 'POST', headers, body, credentials, signal };
      const response = await patience.for(send(url, init));
      const text = await patience.for(response.text());
      return { answer: readAnswer(name, response, text), headers: response.headers };
    } catch (cause) {
      if (signal.aborted) throw signal.reason;
      const message = `${name} could not be called at ${url}: ${why(cause)}`;
      throw new ForgeError('NETWORK_ERROR', message, { cause });
    }
  }

  function plainHeaders(): Headers {
    const given = typeof options.headers === 'function' ? options.headers() : options.headers;
    const headers = new Headers(given);
    headers.set('content-type', 'application/json');
    headers.set('accept', 'application/json');
    // A page of another origin cannot send this without asking first: it tells our calls from forged ones.
    if (credentials !== 'omit') headers.set('x-forge-csrf', '1');
    return headers;
  }

  function headersOf(request: OneCall, token: string | undefined): Headers {
    const headers = authorize(plainHeaders(), token);
    if (request.mutationId !== undefined) headers.set('x-forge-mutation-id', request.mutationId);
    const position = positions.toString();
    if (position !== '') headers.set('x-forge-position', position);
    return headers;
  }

  /** Arguments that nobody else holds. */
  const own = (fn: Query<unknown, unknown>, args: unknown): unknown =>
    JSON.parse(toJson(fn.name, args));

  return {
    query: call,
    mutate: call,
    action: call,
    call,
    subscribe: (fn: Query<unknown, unknown>, args: unknown, listener: Listener<unknown>) =>
      live.subscribe(fn.name, own(fn, args), listener),
    on: (fn: Query<unknown, unknown>, args: unknown, listener: ServerEventListener) =>
      live.on(fn.name, own(fn, args), listener),
    presence: (
      fn: Query<unknown, unknown>,
      args: unknown,
      state: unknown,
      listener: Listener<unknown>,
    ) => live.presence(fn.name, own(fn, args), state, listener),
    trackJob: (job: Job<unknown>, jobId: string, listener: JobListener<unknown>) =>
      live.track(job.name, jobId, listener),
    connection: live.connection,
  } as ForgeClient;
}

/** Whether this runs where cookies are kept: on a page, or in its worker. */
function inBrowser(): boolean {
  return typeof location !== 'undefined';
}

/** Writes the arguments. A function that takes none is sent the empty object. */
function toJson(name: string, args: unknown): string {
  try {
    return JSON.stringify(args ?? {});
  } catch (cause) {
    const message = `the arguments of ${name} cannot be written as JSON: ${why(cause)}`;
    throw new ForgeError('INVALID_ARGUMENT', message, { cause });
  }
}

function authorize(headers: Headers, token: string | undefined): Headers {
  if (token !== undefined) headers.set('authorization', `Bearer ${token}`);
  return headers;
}

/**
 * A new id for a row, as the back end makes them: a UUID of version 7, whose order is that of time. For what is shown before
 * it is stored. Also where a page without TLS has no `crypto.randomUUID`.
 */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const time = Date.now().toString(16).padStart(12, '0');
  // The bits that say "version 7".
  bytes[6] = (bytes[6]! & 0x0f) | 0x70;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const random = Array.from(bytes.subarray(6), (byte) => byte.toString(16).padStart(2, '0'));
  const hex = time + random.join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
