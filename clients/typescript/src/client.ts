/**
 * The client of a FORGE back end: calls its functions, and subscribes to queries. Needs nothing but `fetch` and, for
 * subscriptions, `WebSocket`, and touches nothing of the page when it is imported, so that it runs in browsers, workers
 * and servers alike.
 */

import type { LiveOptions } from './connection.js';
import { ForgeError, why } from './error.js';
import type {
  Action,
  CallArgs,
  ForgeFunction,
  FunctionKind,
  Mutation,
  Query,
} from './functions.js';
import { Live, type LiveAnswer, type LiveConnection } from './live.js';
import type { Optimistic } from './optimistic.js';
import { Patience } from './patience.js';
import { Positions } from './positions.js';
import { type GetToken, Session } from './session.js';
import type { Listener, Subscription } from './subscriptions.js';

export type { ConnectionStatus, LiveOptions } from './connection.js';
export { ForgeError } from './error.js';
export type { FieldErrors, ForgeErrorCode } from './error.js';
export { action, mutation, query } from './functions.js';
export type {
  Action,
  CallArgs,
  ForgeFunction,
  FunctionKind,
  Mutation,
  Query,
} from './functions.js';
export type { LiveConnection } from './live.js';
export type { Optimistic, OptimisticQueries, OptimisticResult } from './optimistic.js';
export type { Listener, Snapshot, Subscription } from './subscriptions.js';
export type { GetToken };

/** How to reach the back end, and as whom. Everything has a default. */
export interface ForgeClientOptions {
  /** Where the back end is: `https://api.example.org`. Default: where the page came from. */
  url?: string | undefined;
  /** The bearer token of whoever is signed in. Leave it out when a cookie holds the session. */
  getToken?: GetToken | undefined;
  /**
   * Nobody is signed in any more, and a new token could not be had: forget the user, show the sign-in page. Called once
   * per session that ends. Never called when somebody who is signed in may not do something (`FORBIDDEN`).
   */
  onUnauthorized?: ((error: ForgeError) => void) | undefined;
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
  /** `false` to call as nobody: no token is sent, and a 401 is an ordinary error. For signing in and for refreshing. */
  auth?: boolean | undefined;
  /** The id that makes a repeat of this mutation safe. Default: a new one for every call. */
  mutationId?: string | undefined;
}

/** What a call that changes something may say. */
export interface ChangeOptions<Args> extends CallOptions {
  /** Shows what the call will change before the back end has done it; taken back when the call fails. */
  optimistic?: Optimistic<Args> | undefined;
}

/** A client. Its methods may be passed around on their own. Every one of them rejects with {@link ForgeError} only. */
export interface ForgeClient {
  /** Calls a query. Repeated when the back end cannot be reached. */
  query<Args, Result>(
    fn: Query<Args, Result>,
    ...args: CallArgs<NoInfer<Args>, CallOptions>
  ): Promise<Result>;
  /** Calls a mutation. Repeated when the back end cannot be reached: its id lets the back end do it only once. */
  mutate<Args, Result>(
    fn: Mutation<Args, Result>,
    ...args: CallArgs<NoInfer<Args>, ChangeOptions<NoInfer<Args>>>
  ): Promise<Result>;
  /** Calls an action. Never repeated. */
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
   * result is there already, the listener is called with it before this returns. Never throws because of the back end:
   * what goes wrong is in the snapshot.
   */
  subscribe<Args, Result>(
    fn: Query<Args, Result>,
    args: NoInfer<Args>,
    listener: Listener<Result>,
  ): Subscription<Result>;
  /** The connection that subscriptions come over. */
  readonly connection: LiveConnection;
}

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
}

/** Longer messages, in characters, would keep others on the connection waiting. */
const LONGEST_MESSAGE = 64 * 1024;

/** Makes a client. */
export function createForgeClient(options: ForgeClientOptions = {}): ForgeClient {
  const base = (options.url ?? '').replace(/\/+$/, '');
  const credentials = options.credentials ?? 'same-origin';
  // Called as a plain function: a browser's `fetch` refuses to be a method of anything else.
  const send: typeof fetch = options.fetch ?? ((input, init) => fetch(input, init));
  const session = new Session(options.getToken, options.onUnauthorized);
  const positions = new Positions();
  const live = new Live(base, options.live ?? {}, session);

  async function call(
    fn: ForgeFunction<FunctionKind, never, unknown>,
    args: unknown,
    { signal, timeout, auth = true, mutationId, optimistic }: ChangeOptions<unknown> = {},
  ): Promise<unknown> {
    const { name, kind } = fn;
    const body = toJson(name, args);
    const patience = new Patience(name, timeout ?? options.timeout ?? 30_000, signal);
    const id = mutationId ?? newId();
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
        // One that is called as nobody signs in or out; where tokens are given, they say whether it did.
        changesSession: !auth && kind === 'mutation' && !options.getToken,
      };
      if (optimistic) live.expect(id, optimistic, args);
      const data = await repeating(request, () =>
        auth ? authorized(request) : attempt(request, undefined),
      );
      if (optimistic) live.succeeded(id, request.acknowledged);
      // Later, when whoever called has put the new token where `getToken` finds it.
      if (request.changesSession) setTimeout(() => live.connection.restart());
      return data;
    } catch (cause) {
      if (optimistic) live.failed(id);
      if (cause instanceof ForgeError) throw cause;
      throw new ForgeError('CLIENT_ERROR', `${name} could not be called: ${why(cause)}`, { cause });
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
        if (done >= repeats || !(error instanceof ForgeError) || !mayPass(error)) throw error;
        // Between half and all of 0.25 s, 0.5 s, 1 s, ..: clients that were cut off together do not return together.
        const backoff = 250 * 2 ** Math.min(done, 6) * (0.5 + Math.random() / 2);
        const delay = Math.max(backoff, (error.retryAfter ?? 0) * 1000);
        if (delay >= request.patience.left) throw error;
        await request.patience.pause(delay);
      }
    }
  }

  /** Tries as whoever is signed in; when the token is refused, once more with another. */
  async function authorized(request: OneCall): Promise<unknown> {
    let token = await request.patience.for(session.token());
    const answer = await overConnection(request, token);
    if (answer) return answer.data;
    for (let renewed = false; ; renewed = true) {
      try {
        const data = await attempt(request, token);
        session.confirm();
        return data;
      } catch (error) {
        // Only a 401 of the back end's own, not a proxy's, says anything about the session.
        if (!(error instanceof ForgeError) || error.status !== 401 || error.code === 'BAD_RESPONSE')
          throw error;
        const other = renewed ? undefined : await request.patience.for(session.renew(token));
        if (other === undefined) {
          session.lose(token, error);
          throw error;
        }
        token = other;
      }
    }
  }

  /** Sends the request over the connection, when that can be; gives nothing when it has to be sent over HTTP. */
  async function overConnection(
    request: OneCall,
    token: string | undefined,
  ): Promise<LiveAnswer | undefined> {
    request.acknowledged = false;
    if (!request.overConnection || !live.speaksFor(token)) return undefined;
    // A replica must be told what the answer has to contain, and only HTTP says so.
    if (request.kind === 'query' && positions.toString() !== '') return undefined;
    try {
      const answer = await request.patience.for(live.call(request));
      positions.answer(request.began, answer.position);
      request.acknowledged = request.kind === 'mutation';
      return answer;
    } catch (error) {
      if (!(error instanceof ForgeError)) throw error;
      // It begins or ends a session, so that nothing that was read before may stay.
      if (error.code === 'USE_HTTP') request.changesSession = true;
      // A refusal is answered where tokens are renewed.
      else if (error.code !== 'UNAUTHORIZED') throw error;
      return undefined;
    }
  }

  /** Sends the request over HTTP once and reads the answer. */
  async function attempt(request: OneCall, token: string | undefined): Promise<unknown> {
    const { name, patience } = request;
    const url = `${base}/rpc/${encodeURIComponent(name)}`;
    const init: RequestInit = {
      method: 'POST',
      headers: headersOf(request, token),
      body: request.body,
      credentials,
      signal: patience.signal,
    };
    let response: Response;
    let text: string;
    try {
      response = await patience.for(send(url, init));
      text = await patience.for(response.text());
    } catch (cause) {
      if (patience.signal.aborted) throw patience.signal.reason;
      throw new ForgeError(
        'NETWORK_ERROR',
        `${name} could not be called at ${url}: ${why(cause)}`,
        { cause },
      );
    }
    const data = readAnswer(name, response, text);
    positions.answer(request.began, response.headers.get('x-forge-position'));
    return data;
  }

  function headersOf(request: OneCall, token: string | undefined): Headers {
    const given = typeof options.headers === 'function' ? options.headers() : options.headers;
    const headers = new Headers(given);
    headers.set('content-type', 'application/json');
    headers.set('accept', 'application/json');
    if (token !== undefined) headers.set('authorization', `Bearer ${token}`);
    // A page of another origin cannot send this without asking first: it tells our calls from forged ones.
    if (credentials !== 'omit') headers.set('x-forge-csrf', '1');
    if (request.mutationId !== undefined) headers.set('x-forge-mutation-id', request.mutationId);
    const position = positions.toString();
    if (position !== '') headers.set('x-forge-position', position);
    return headers;
  }

  return {
    query: call,
    mutate: call,
    action: call,
    call,
    subscribe: (fn: Query<unknown, unknown>, args: unknown, listener: Listener<unknown>) =>
      live.subscribe(fn.name, args, listener),
    connection: live.connection,
  } as ForgeClient;
}

/** Whether the same call may succeed a moment later, with nothing done twice. */
function mayPass({ code, status }: ForgeError): boolean {
  return (
    code === 'NETWORK_ERROR' ||
    // An answer over the connection has no status.
    ((status ?? 503) === 503 && (code === 'DATABASE_UNAVAILABLE' || code === 'OUTCOME_UNKNOWN')) ||
    // What a proxy says while the back end behind it restarts.
    (code === 'BAD_RESPONSE' && (status === 502 || status === 503 || status === 504))
  );
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

/** Takes the result out of an answer, or throws the error that it reports. */
function readAnswer(name: string, response: Response, text: string): unknown {
  const { status } = response;
  const answer = parse(text);
  const requestId = typeof answer?.['requestId'] === 'string' ? answer['requestId'] : undefined;
  if (answer?.['success'] === true && 'data' in answer) return answer['data'];
  const error = answer?.['success'] === false ? asObject(answer['error']) : undefined;
  if (typeof error?.['code'] === 'string' && typeof error['message'] === 'string') {
    const retryAfter = secondsOf(response.headers.get('retry-after'));
    throw new ForgeError(error['code'], error['message'], {
      details: error['details'],
      requestId,
      status,
      retryAfter,
    });
  }
  const type = response.headers.get('content-type') ?? 'no content type';
  throw new ForgeError(
    'BAD_RESPONSE',
    `the answer to ${name} does not come from the back end (status ${status}, ${type}): check the client's url, and what stands in between`,
    { status, requestId, retryAfter: secondsOf(response.headers.get('retry-after')) },
  );
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    return asObject(JSON.parse(text));
  } catch {
    // Not JSON, hence not an answer of the back end: the caller says so.
    return undefined;
  }
}

function asObject(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null
    ? (value as Record<string, unknown>)
    : undefined;
}

/** Reads `retry-after`: seconds, or the date of a proxy. */
function secondsOf(header: string | null): number | undefined {
  if (header === null) return undefined;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? undefined : Math.max(0, seconds);
}

/** A new UUID, also where a page without TLS has no `randomUUID`. */
function newId(): string {
  if (typeof crypto.randomUUID === 'function') return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  // The bits that say "version 4, at random".
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
