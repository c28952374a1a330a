/**
 * The one connection of a client: opened when it is first wanted, kept alive, opened anew when it breaks, closed some
 * seconds after nobody wants it any more. A WebSocket, or, where none gets through, a stream of events.
 *
 * ```text
 * closed ── want ──▶ connecting ── ready ──▶ open
 *    ▲                 │    ▲                 │
 *    │            fails│    │time, online,    │breaks: at once, then at growing intervals
 *    │                 ▼    │page is shown    │refused (4401): renew the token, then at once
 *    └── unwanted ── offline ◀────────────────┘
 * ```
 *
 * It carries messages and knows whom it speaks for; what they say is the business of others.
 */

import { ForgeError, why } from './error.js';
import { Heartbeat } from './heartbeat.js';
import {
  type Link,
  type LinkOwner,
  PROTOCOL_BROKEN,
  RESTARTING,
  SIGNED_OUT,
  TOO_BUSY,
  openWebSocket,
} from './link.js';
import { type Message, errorOf, readMessage } from './message.js';
import type { Pass, Session } from './session.js';
import type { Http } from './sse.js';

/** `open` carries everything; `offline` waits for the next attempt; `closed` is not wanted, or nobody is signed in. */
export type ConnectionStatus = 'connecting' | 'open' | 'offline' | 'closed';

/** What can carry a connection: a WebSocket, or a stream of events (SSE) with requests beside it. */
export type Transport = 'websocket' | 'sse';

/** How live queries reach the back end. Everything has a default. */
export interface LiveOptions {
  /** Where the connection is opened. Default: `/ws` below the client's `url`; a stream of events is at `/events` beside it. */
  url?: string | undefined;
  /**
   * What carries it. Default `auto`: a WebSocket; when none could be opened twice in a row although requests get through, a
   * stream of events, for as long as the client lives.
   */
  transport?: Transport | 'auto' | undefined;
  /** What opens it, where the engine has no `WebSocket` of its own (Node before 22). */
  WebSocket?: (new (url: string, protocol: string) => WebSocket) | undefined;
  /** For how long the connection stays open after the last subscription ended, in milliseconds. Default 5,000. */
  linger?: number | undefined;
  /** After how much silence the back end is asked whether it is still there, in milliseconds. Default 20,000. */
  heartbeat?: number | undefined;
  /** The pause after the first failed attempt, in milliseconds; it doubles from there. Default 500. */
  retryDelay?: number | undefined;
  /** The longest pause between two attempts, in milliseconds. Default 30,000. */
  retryDelayMax?: number | undefined;
}

/** What a connection tells its owner. */
export interface ConnectionOwner {
  /** Messages can be sent from now on. */
  opened(): void;
  /** A message that is about more than the connection itself. */
  received(message: Message): void;
  /** The connection that was open is gone, and so is the answer to whatever was asked. */
  dropped(): void;
  /** Whoever the connection spoke for, it will speak for somebody else: what was read for them is not to be shown. */
  forget(): void;
  /** There will be no connection until something changes. */
  ended(error: ForgeError): void;
  /** The status is another. */
  changed(): void;
  /** Whether an answer is still awaited, so that the connection cannot be closed yet. */
  busy(): boolean;
}

/** What the session learns when the connection is accepted. */
const WELL = { data: undefined, error: undefined, session: null, refused: false };

/** A connection that has lasted this long was a good one: attempts are counted from the start again. */
const LASTING = 5_000;
/**
 * The first attempt is made within so many milliseconds, somewhere: after a cut, and after a node said that it stops, as
 * all clients of that node then come at the same time.
 */
const SPREAD = 300;
const SPREAD_RESTARTING = 2_000;
/** After so many WebSockets in a row that could not be opened, something else is tried; the second after one was open before. */
const UNOPENED_MAX = 2;
const UNOPENED_AGAIN_MAX = 4;

export class Connection {
  #status: ConnectionStatus = 'closed';
  /** Whom it speaks for. */
  #pass: Pass | undefined;
  #wanted = false;
  #link: Link | undefined;
  /** Counts what overtakes each other: attempts, renewals. Whoever has waited goes on only if the count is still theirs. */
  #turn = 0;
  #attempts = 0;
  #retryAt: Date | undefined;
  #transport: Transport;
  /** How many WebSockets in a row could not be opened. */
  #unopened = 0;
  /** Whether it is known that requests get through where WebSockets do not. */
  #settled = false;
  #unopenedMax = UNOPENED_MAX;
  #heardAnything = false;
  /** How often it was refused in a row, and what was refused last. */
  #refusals = 0;
  #refused: { token: string | undefined; error: ForgeError } | undefined;
  #openedAt = 0;
  #said: ForgeError | undefined;
  /** The token that was sent to prolong the session and is not confirmed yet. */
  #prolonging: { token: string } | undefined;
  #retryTimer: Timer;
  #lingerTimer: Timer;
  readonly #heartbeat: Heartbeat;
  readonly #base: string;
  readonly #http: Http;
  readonly #options: LiveOptions;
  readonly #session: Session;
  readonly #owner: ConnectionOwner;

  constructor(
    base: string,
    http: Http,
    options: LiveOptions,
    session: Session,
    owner: ConnectionOwner,
  ) {
    this.#base = base;
    this.#http = http;
    this.#options = options;
    this.#transport = options.transport === 'sse' ? 'sse' : 'websocket';
    this.#session = session;
    this.#owner = owner;
    this.#heartbeat = new Heartbeat(
      options.heartbeat ?? 20_000,
      () => this.send({ type: 'ping' }),
      () => this.#lost(0),
    );
  }

  get status(): ConnectionStatus {
    return this.#status;
  }

  /** When the next attempt is made, while it is `offline`. */
  get retryAt(): Date | undefined {
    return this.#status === 'offline' ? this.#retryAt : undefined;
  }

  get transport(): Transport {
    return this.#transport;
  }

  /** Makes the next attempt now. */
  retry(): void {
    if (this.#status === 'offline') void this.#connect();
  }

  /** Somebody needs the connection. */
  want(): void {
    clearTimeout(this.#lingerTimer);
    if (!this.#wanted) {
      this.#wanted = true;
      globalThis.addEventListener?.('online', this.#wake);
      globalThis.addEventListener?.('offline', this.#wake);
      globalThis.document?.addEventListener('visibilitychange', this.#wake);
    }
    if (this.#status !== 'closed') return;
    this.#attempts = 0;
    this.#refusals = 0;
    void this.#connect();
  }

  /** Nobody needs the connection now. */
  release(): void {
    clearTimeout(this.#lingerTimer);
    const over = () => (this.#owner.busy() ? this.release() : this.close());
    this.#lingerTimer = setTimeout(over, this.#options.linger ?? 5_000);
  }

  /** Closes now. */
  close(): void {
    this.#wanted = false;
    clearTimeout(this.#lingerTimer);
    globalThis.removeEventListener?.('online', this.#wake);
    globalThis.removeEventListener?.('offline', this.#wake);
    globalThis.document?.removeEventListener('visibilitychange', this.#wake);
    this.#letGo('closed');
  }

  /** Somebody else may be signed in: forgets what was read for whoever it was, and begins anew. */
  restart(): void {
    if (this.#wanted) this.#letGo('connecting');
    // Calls are made for somebody without a connection, too.
    this.#owner.forget();
    if (!this.#wanted) return;
    this.#attempts = 0;
    this.#refusals = 0;
    // Later, when whoever has signed in has put their token where it is found.
    this.#retryTimer = setTimeout(() => void this.#connect());
  }

  /** Somebody has signed in, or nobody is signed in any more. */
  sessionChanged(news: 'started' | 'ended'): void {
    this.restart();
    // What anybody may see goes on; to be refused as nobody is the end.
    if (news === 'ended') this.#refusals = 2;
  }

  /** Whether a call made with this pass can go over the connection. When its token is a new one, prolongs the session. */
  speaksFor({ token }: Pass): boolean {
    if (this.#status !== 'open' || !this.#pass) return false;
    if (token === this.#pass.token) return true;
    if (token === undefined || this.#pass.token === undefined) this.restart();
    else if (this.#prolonging?.token !== token) {
      this.#prolonging = { token };
      this.send({ type: 'auth', token });
    }
    return false;
  }

  /** Sends a message, when the connection is open. */
  send(message: Message): void {
    this.#link?.send(JSON.stringify(message), this.#prolonging?.token ?? this.#pass?.token);
  }

  async #connect(): Promise<void> {
    this.#letGo('connecting');
    const turn = this.#turn;
    let pass: Pass;
    try {
      pass = await this.#session.pass();
    } catch {
      // Nobody can say who is signed in, because the network is down, say: the next attempt asks again.
      if (turn === this.#turn) this.#retry();
      return;
    }
    if (turn !== this.#turn) return;
    const { token } = pass;
    if (this.#refusals === 2 && token !== undefined && token === this.#refused?.token) {
      // The app still gives what was refused for good.
      this.#end(this.#refused.error);
      return;
    }
    this.#pass = pass;
    this.#said = undefined;
    this.#heardAnything = false;
    this.#heartbeat.opening();
    const mine = () => turn === this.#turn;
    try {
      const link = await this.#open(pass, {
        opened: () => {
          if (mine() && token !== undefined && !this.#link?.introduced)
            this.send({ type: 'auth', token });
        },
        alive: () => {
          if (mine()) this.#heartbeat.heard();
        },
        heard: (data) => {
          if (mine()) this.#hear(data);
        },
        ended: (code) => {
          if (mine()) this.#lost(code);
        },
      });
      if (mine()) this.#link = link;
      else link.close();
    } catch (cause) {
      if (!mine()) return;
      if (this.#transport === 'sse') {
        // What opens it could not be loaded: the network is down, say.
        this.#lost(0);
        return;
      }
      const text = `live queries cannot be asked: ${why(cause)}`;
      this.#end(new ForgeError('CLIENT_ERROR', text, { cause }));
    }
  }

  async #open({ token }: Pass, owner: LinkOwner): Promise<Link> {
    const given = this.#options.url ?? `${this.#base}/ws`;
    if (this.#transport === 'sse') {
      const { openEvents } = await import('./sse.js');
      return openEvents(given.replace(/\/ws$/, '/events'), this.#http, token, owner);
    }
    const Socket = this.#options.WebSocket ?? globalThis.WebSocket;
    if (!Socket) throw new Error('this engine has no WebSocket, so pass `live.WebSocket`');
    const url = new URL(given, globalThis.location?.href);
    url.protocol = url.protocol.replace(/^http/, 'ws');
    return openWebSocket(Socket, url.href, owner);
  }

  #hear(data: unknown): void {
    this.#heartbeat.heard();
    this.#heardAnything = true;
    const message = readMessage(data);
    if (!message) {
      this.#lost(PROTOCOL_BROKEN);
      return;
    }
    switch (message['type']) {
      case 'pong':
        return;
      case 'connected':
        if (this.#pass?.token === undefined || this.#link?.introduced) this.#ready();
        return;
      case 'authenticated':
        if (this.#prolonging && this.#pass) this.#pass = { ...this.#pass, ...this.#prolonging };
        this.#prolonging = undefined;
        if (this.#status !== 'open') this.#ready();
        return;
      case 'close':
        // A stream of events has no close code of its own.
        this.#lost(Number(message['code']));
        return;
      case 'error':
        if (message['id'] !== undefined) break;
        this.#said = errorOf(message);
        return;
      case 'frame':
        this.#refusals = 0;
    }
    this.#owner.received(message);
  }

  #ready(): void {
    this.#openedAt = performance.now();
    this.#unopened = 0;
    // From now on it is known what gets through here.
    if (this.#transport === 'sse') this.#settled = true;
    // A node that is too busy to open them looks just like a network that lets none through.
    else this.#unopenedMax = UNOPENED_AGAIN_MAX;
    if (this.#pass) this.#session.learn(WELL, this.#pass);
    this.#heartbeat.beat();
    this.#become('open');
    this.#owner.opened();
  }

  /** The connection ended, or was never there. */
  #lost(code: number): void {
    const lasted = this.#status === 'open' && performance.now() - this.#openedAt >= LASTING;
    const said = this.#said;
    const prolonging = this.#prolonging !== undefined;
    // Nothing else says that the new token was somebody else's: one that is refused may be the same user's.
    const other = prolonging && code === PROTOCOL_BROKEN && said?.code === 'FORBIDDEN';
    const another = !this.#heardAnything && code !== SIGNED_OUT && this.#tryAnother();
    this.#letGo('connecting');
    if (lasted) {
      this.#attempts = 0;
      this.#refusals = 0;
    }
    if (other) {
      this.#owner.forget();
      void this.#connect();
    } else if (prolonging && code === SIGNED_OUT) {
      // Refused once more, by itself, it is renewed.
      void this.#connect();
    } else if (code === SIGNED_OUT) {
      const { message = 'nobody is signed in any more', details } = said ?? {};
      void this.#renew(new ForgeError('UNAUTHORIZED', message, { details, status: 401 }));
    } else if (another) {
      // At once: only what is true of both at the same time tells one from the other.
      void this.#connect();
    } else {
      if (code === TOO_BUSY || code === PROTOCOL_BROKEN) this.#attempts ||= 1;
      // Not a failure, however shortly it lasted.
      if (code === RESTARTING) this.#attempts = 0;
      this.#retry(code === RESTARTING ? SPREAD_RESTARTING : SPREAD);
    }
  }

  /** What was to carry the connection could not be opened: whether something else is to be tried, now. */
  #tryAnother(): boolean {
    if ((this.#options.transport ?? 'auto') !== 'auto' || this.#settled) return false;
    const before = this.#transport;
    // Where nothing gets through, nothing is known of WebSockets.
    this.#transport =
      before === 'websocket' && ++this.#unopened >= this.#unopenedMax ? 'sse' : 'websocket';
    if (this.#transport !== before) this.#unopened = 0;
    return this.#transport === 'sse';
  }

  /** Tries again: at once the first time, then after pauses that grow, each of them somewhere between half and whole. */
  #retry(spread = SPREAD): void {
    const { retryDelay = 500, retryDelayMax = 30_000 } = this.#options;
    const pause = Math.min(retryDelayMax, retryDelay * 2 ** Math.min(this.#attempts - 1, 20));
    const delay =
      this.#attempts === 0 ? Math.random() * spread : pause * (0.5 + Math.random() / 2);
    this.#retryAt = new Date(Date.now() + delay);
    if (this.#attempts > 0) this.#become('offline');
    this.#attempts += 1;
    this.#retryTimer = setTimeout(() => void this.#connect(), delay);
  }

  /** The back end refused whoever the connection spoke for. */
  async #renew(error: ForgeError): Promise<void> {
    const turn = this.#turn;
    const spent = this.#pass ?? this.#session.bare();
    this.#refusals += 1;
    this.#refused = { token: spent.token, error };
    if (this.#refusals > 2) {
      this.#end(error);
      return;
    }
    let renewed: Pass | undefined;
    // A renewed token that is refused at once is none.
    if (this.#refusals === 1) {
      try {
        renewed = await this.#session.renew(spent, { data: undefined, error, session: 'renew', refused: true });
      } catch {
        // Not refused for good: whoever renews could not be reached.
        if (turn !== this.#turn) return;
        this.#refusals = 0;
        this.#attempts ||= 1;
        this.#retry();
        return;
      }
    }
    if (turn !== this.#turn) return;
    if (renewed) {
      void this.#connect();
      return;
    }
    this.#session.lose(spent, error);
    // The session tells that it has ended only once; this connection may not be the first to know.
    if (turn === this.#turn) this.sessionChanged('ended');
  }

  #end(error: ForgeError): void {
    this.#letGo('closed');
    this.#owner.ended(error);
  }

  /** Lets go of the link, of timers and of whatever is awaited. */
  #letGo(status: ConnectionStatus): void {
    this.#turn += 1;
    this.#heartbeat.stop();
    clearTimeout(this.#retryTimer);
    this.#prolonging = undefined;
    const link = this.#link;
    this.#link = undefined;
    link?.close();
    const dropped = this.#status === 'open';
    this.#become(status);
    if (dropped) this.#owner.dropped();
  }

  #become(status: ConnectionStatus): void {
    if (status === this.#status) return;
    this.#status = status;
    this.#owner.changed();
  }

  /** The network is back or gone, or the page is seen again: timers may have slept, and the connection may have died. */
  readonly #wake = ({ type }: Event): void => {
    if (globalThis.document?.visibilityState === 'hidden') return;
    if (this.#status === 'offline' && type !== 'offline') void this.#connect();
    else if (this.#status === 'open') this.#heartbeat.probe();
  };
}

type Timer = ReturnType<typeof setTimeout> | undefined;
