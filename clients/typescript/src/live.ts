/**
 * The live half of a client: subscriptions, calls and what is expected of them, over one connection. Making it costs
 * nothing; nothing is opened before the first subscription.
 */

import {
  Connection,
  type ConnectionStatus,
  type LiveOptions,
  type Transport,
} from './connection.js';
import { ForgeError } from './error.js';
import { type JobListener, type JobTracker, Jobs } from './jobs.js';
import { type Message, errorOf } from './message.js';
import { type Optimistic, expect, report } from './optimistic.js';
import type { Patience } from './patience.js';
import type { Pass, Session } from './session.js';
import type { Http } from './sse.js';
import {
  type Line,
  type ServerEventListener,
  type Listener,
  type Presence,
  type Subscription,
  Subscriptions,
} from './subscriptions.js';

/** The connection over which live queries come, for pages that show how it is. */
export interface LiveConnection {
  /** How it is now: `closed` while nothing is subscribed to. */
  readonly status: ConnectionStatus;
  /** When the next attempt is made, while it is `offline`. */
  readonly retryAt: Date | undefined;
  /** What carries it, or will. */
  readonly transport: Transport;
  /** Makes the next attempt now, while it is `offline`. */
  retry(): void;
  /** Calls the listener whenever the status changes; gives what ends that. */
  onChange(listener: (status: ConnectionStatus) => void): () => void;
  /**
   * Forgets what was read and connects anew as whoever is signed in now. Needed only when the session changed in a way
   * that this client cannot see, such as a cookie that a script of another kind has set.
   */
  restart(): void;
  /** Ends all subscriptions, without telling their listeners, and closes. Later subscriptions open it again. */
  close(): void;
}

/** A call that is sent over the connection. */
export interface LiveCall {
  name: string;
  args: unknown;
  mutationId: string | undefined;
  /** Ends when nobody waits for the answer any more. */
  patience: Patience;
}

/** The answer to it. */
export interface LiveAnswer {
  data: unknown;
  /** How far the data had come; see `positions.ts`. */
  position: string | null;
}

/** How many calls are under way at most; the back end refuses more on one connection. Others wait for their turn. */
const CALLS_MAX = 16;

/** How long the answer to a mutation waits for the results with its effect, in milliseconds: a slow query may take its time. */
const EFFECT_WITHIN = 2_000;

/** The effect of a mutation, which results are to contain. */
interface Effect {
  shown: Promise<void>;
  /** They do, or never will. */
  end: () => void;
}

interface Pending {
  call: LiveCall;
  resolve: (answer: LiveAnswer | undefined) => void;
  reject: (error: ForgeError) => void;
}

export class Live {
  readonly connection: LiveConnection;
  readonly #connection: Connection;
  readonly #subscriptions: Subscriptions;
  readonly #jobs: Jobs;
  /** Who needs the connection. */
  readonly #needed = new Set<Line>();
  readonly #calls = new Map<unknown, Pending>();
  /** Of mutations that were sent, by their ids. */
  readonly #effects = new Map<unknown, Effect>();
  #waiting: Pending[] = [];
  readonly #watchers = new Set<(status: ConnectionStatus) => void>();
  #numbers = 0;

  /** `forgotten` is told when what was to be done for whoever was signed in is not to be done any more. */
  constructor(
    base: string,
    http: Http,
    options: LiveOptions,
    session: Session,
    forgotten: () => void,
  ) {
    const connection = new Connection(base, http, options, session, {
      opened: () => {
        this.#subscriptions.resume();
        this.#jobs.resume();
      },
      received: (message) => this.#receive(message),
      dropped: () => this.#dropped(),
      forget: () => {
        forgotten();
        this.#subscriptions.forget();
        this.#jobs.forget();
      },
      ended: (error) => {
        this.#subscriptions.refused(error);
        this.#jobs.refused(error);
      },
      changed: () => this.#changed(),
      busy: () => this.#calls.size > 0,
    });
    this.#connection = connection;
    session.onChange = (news) => connection.sessionChanged(news);
    this.#subscriptions = new Subscriptions(this.#line());
    this.#jobs = new Jobs(this.#line());
    this.connection = {
      get status() {
        return connection.status;
      },
      get retryAt() {
        return connection.retryAt;
      },
      get transport() {
        return connection.transport;
      },
      retry: () => connection.retry(),
      onChange: (listener) => {
        // Its own function, so that one that is given twice is called twice, and each end ends one.
        const watcher = (status: ConnectionStatus) => listener(status);
        this.#watchers.add(watcher);
        return () => void this.#watchers.delete(watcher);
      },
      restart: () => connection.restart(),
      close: () => {
        this.#subscriptions.clear();
        this.#jobs.clear();
        connection.close();
      },
    };
  }

  /** A way to the back end for one of those who subscribe to something. */
  #line(): Line {
    const connection = this.#connection;
    const line: Line = {
      get open() {
        return connection.status === 'open';
      },
      send: (message) => connection.send(message),
      number: () => ++this.#numbers,
      needed: (needed) => {
        if (needed) this.#needed.add(line);
        else this.#needed.delete(line);
        if (needed) connection.want();
        else if (this.#needed.size === 0) connection.release();
      },
    };
    return line;
  }

  track(name: string, jobId: string, listener: JobListener<unknown>): JobTracker<unknown> {
    return this.#jobs.track(name, jobId, listener);
  }

  subscribe(name: string, args: unknown, listener: Listener<unknown>): Subscription<unknown> {
    return this.#subscriptions.add(name, args, listener);
  }

  on(name: string, args: unknown, listener: ServerEventListener): () => void {
    return this.#subscriptions.on(name, args, listener);
  }

  presence(
    name: string,
    args: unknown,
    state: unknown,
    listener: Listener<unknown>,
  ): Presence<unknown> {
    return this.#subscriptions.present(name, args, state, listener);
  }

  /** Whether a call made with this pass can be sent over the connection. */
  speaksFor(pass: Pass): boolean {
    return this.#connection.speaksFor(pass);
  }

  /**
   * Sends a call, when it is its turn. Gives nothing when the connection broke before; rejects with `NETWORK_ERROR` when it
   * broke afterwards and before the answer came, and with `USE_HTTP` when the call has to be sent another way.
   */
  call(call: LiveCall): Promise<LiveAnswer | undefined> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ call, resolve, reject });
      this.#sendWaiting();
    });
  }

  /**
   * Waits for the frame that acknowledges a mutation which was called over the connection: the results contain what it did
   * from then on. Ends when the connection breaks, and after two seconds.
   */
  async shown(id: string): Promise<void> {
    const effect = this.#effects.get(id);
    if (!effect) return;
    const timer = setTimeout(effect.end, EFFECT_WITHIN);
    await effect.shown;
    clearTimeout(timer);
  }

  /** Shows what a call is expected to change. */
  expect<Args>(id: string, optimistic: Optimistic<Args>, args: Args): void {
    const subscriptions = this.#subscriptions;
    subscriptions.layers.add(
      id,
      expect(optimistic, args, (key) => subscriptions.shown(key)),
    );
  }

  /** The call has succeeded; `acknowledged` says whether a frame will say so too. */
  succeeded(id: string, acknowledged: boolean): void {
    const subscriptions = this.#subscriptions;
    subscriptions.layers.succeeded(id, acknowledged, subscriptions.asked, (key) =>
      subscriptions.has(key),
    );
  }

  /** It is not known whether the call was done; it will be repeated. */
  interrupted(id: string): void {
    this.#subscriptions.layers.interrupted(id);
  }

  /** The call has failed. */
  failed(id: string): void {
    this.#subscriptions.layers.failed(id);
  }

  #sendWaiting(): void {
    while (this.#calls.size < CALLS_MAX) {
      const pending = this.#waiting.shift();
      if (!pending) return;
      const { name, args, mutationId, patience } = pending.call;
      // Given up while it waited: what nobody waits for is not begun.
      if (patience.signal.aborted) continue;
      const id = ++this.#numbers;
      this.#calls.set(id, pending);
      if (mutationId !== undefined) this.#effects.set(mutationId, effectOf());
      this.#connection.send({ type: 'call', id, function: name, args: args ?? {}, mutationId });
    }
  }

  #receive(message: Message): void {
    switch (message['type']) {
      case 'frame':
        this.#subscriptions.frame(message);
        if (Array.isArray(message['acks'])) for (const id of message['acks']) this.#ended(id);
        return;
      case 'event':
        this.#subscriptions.event(message);
        return;
      case 'job':
        this.#jobs.told(message);
        return;
      case 'error':
        if (!this.#jobs.failed(message)) this.#subscriptions.failed(message);
        return;
      case 'reply': {
        const pending = this.#calls.get(message['id']);
        this.#calls.delete(message['id']);
        this.#sendWaiting();
        // A call that was given up may be answered still.
        if (!pending) return;
        const { error, data, position } = message;
        if (typeof error === 'object' && error !== null) {
          this.#ended(pending.call.mutationId);
          pending.reject(errorOf(error as Message));
        } else pending.resolve({ data, position: typeof position === 'string' ? position : null });
      }
      // Anything else is of a newer version than this client, and not meant for it.
    }
  }

  /** Nobody has to wait for a mutation's effect any more. */
  #ended(id: unknown): void {
    this.#effects.get(id)?.end();
    this.#effects.delete(id);
  }

  #dropped(): void {
    for (const id of [...this.#effects.keys()]) this.#ended(id);
    const [calls, waiting] = [[...this.#calls.values()], this.#waiting];
    this.#calls.clear();
    this.#waiting = [];
    for (const { resolve } of waiting) resolve(undefined);
    for (const { call, reject } of calls) {
      if (call.mutationId !== undefined) this.#subscriptions.layers.interrupted(call.mutationId);
      const text = `${call.name} was sent, and the connection broke before the answer came`;
      reject(new ForgeError('NETWORK_ERROR', text));
    }
    this.#subscriptions.dropped();
    this.#jobs.dropped();
  }

  #changed(): void {
    for (const watcher of [...this.#watchers]) {
      try {
        watcher(this.#connection.status);
      } catch (cause) {
        report(cause);
      }
    }
  }
}

function effectOf(): Effect {
  let end = () => {};
  const shown = new Promise<void>((resolve) => (end = resolve));
  return { shown, end };
}
