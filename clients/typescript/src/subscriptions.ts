/**
 * The queries that are subscribed to, and the copies of their results. Equal queries share one subscription of the back
 * end and one copy. A frame changes all copies that it is about first; only then are readers told, each once.
 */

import { Again } from './again.js';
import { type ForgeError, isForbidden } from './error.js';
import { keyOf } from './functions.js';
import { type Message, errorOf } from './message.js';
import { Layers, report } from './optimistic.js';
import { applyChange } from './patch.js';

/** What is known of a query's result at one moment. Never changed: there is another one when something changes. */
export interface Snapshot<Result> {
  /** The result, with what is expected of calls under way. Kept when the connection breaks, and while it is loaded anew. */
  readonly data: Result | undefined;
  /** Whether there is neither a result nor an error yet. */
  readonly loading: boolean;
  /** Why there is no result, or no newer one. */
  readonly error: ForgeError | undefined;
  /** Whether the result may be outdated: from the moment the connection breaks until the result is confirmed or replaced. */
  readonly stale: boolean;
  /** When the back end last said what the result is. */
  readonly updatedAt: Date | undefined;
}

/** Reads a query's result as it changes. */
export type Listener<Result> = (snapshot: Snapshot<Result>) => void;

/** A subscription. */
export interface Subscription<Result> {
  /** The result as it is now. */
  readonly current: Snapshot<Result>;
  /** Asks again, when it has failed. */
  retry(): void;
  /** Ends it. The listener is not called any more. */
  stop(): void;
}

/** Somebody who is present at a query. */
export interface PresenceMember<State> {
  /** One for every presence: who looks from two windows is there twice. */
  readonly id: string;
  /** Who it is; null for somebody who is not signed in. */
  readonly userId: string | null;
  /** What they say of themselves: at most 1 KiB as JSON. */
  readonly state: State;
  /** Since when they have been there. */
  readonly since: string;
}

/** One's own presence, and a subscription to that of everybody. */
export interface Presence<State> extends Subscription<PresenceMember<State>[]> {
  /** Says something else of oneself; `null` only watches, and is not seen. */
  set(state: State | null): void;
}

/** Something that the back end tells those who are subscribed to a query, beside its result. */
export interface ServerEvent {
  readonly name: string;
  readonly data: unknown;
  /** How many events before this one were lost, because too many waited for this client. */
  readonly missed: number;
}

/** Is told events, in order, each after the result of the same moment. */
export type ServerEventListener = (event: ServerEvent) => void;

/** What is known before anything is. */
export const NOTHING: Snapshot<never> = Object.freeze({
  data: undefined,
  loading: true,
  error: undefined,
  stale: false,
  updatedAt: undefined,
});

/** How far apart the states of one's own presence are told, at least, in milliseconds. */
const SAID_EVERY = 100;

interface Reader {
  listener: Listener<unknown>;
  told: Snapshot<unknown>;
}

interface Entry {
  readonly key: string;
  readonly name: string;
  readonly args: unknown;
  readonly readers: Set<Reader>;
  readonly listeners: Set<ServerEventListener>;
  /** For a presence: the query that one is present at, and what one says of oneself, as JSON. */
  readonly at: Entry | undefined;
  state: string | undefined;
  /** The number of the subscription on this connection; 0 while there is none. */
  id: number;
  /** How many subscriptions had been asked for when this one was, itself included. */
  asked: number;
  version: string | undefined;
  /** The result as the back end last gave it, and the one that layers lie upon: an older one while layers hold it. */
  result: unknown;
  shown: unknown;
  fresh: boolean;
  error: ForgeError | undefined;
  readonly again: Again;
  updatedAt: Date | undefined;
  snapshot: Snapshot<unknown>;
}

/** How subscriptions reach the back end. */
export interface Line {
  /** Whether messages can be sent now. */
  readonly open: boolean;
  send(message: Message): void;
  /** A number that nothing else has on this connection. */
  number(): number;
  /** Whether there are any subscriptions has changed. */
  needed(needed: boolean): void;
}

export class Subscriptions {
  /** What calls under way are expected to change. */
  readonly layers = new Layers((keys) => this.#tell(this.#withKeys(keys)));
  /** How many subscriptions were asked for. */
  asked = 0;
  readonly #line: Line;
  readonly #entries = new Map<string, Entry>();
  readonly #byId = new Map<unknown, Entry>();
  #presences = 0;

  constructor(line: Line) {
    this.#line = line;
  }

  /** Begins to read. The arguments are nobody else's; the listener is called at once when something is known already. */
  add(name: string, args: unknown, listener: Listener<unknown>): Subscription<unknown> {
    return this.#read(this.#entry(name, args), listener);
  }

  /** Begins to listen to events of a query. Gives what ends that. */
  on(name: string, args: unknown, listener: ServerEventListener): () => void {
    const entry = this.#entry(name, args);
    const own: ServerEventListener = (event) => listener(event);
    entry.listeners.add(own);
    const subscription = this.#read(entry, () => {});
    return () => {
      entry.listeners.delete(own);
      subscription.stop();
    };
  }

  /** Is present at a query, and reads who else is. */
  present(
    name: string,
    args: unknown,
    state: unknown,
    listener: Listener<unknown>,
  ): Presence<unknown> {
    const at = this.#entry(name, args);
    const query = this.#read(at, () => {});
    // Its own key: nobody shares it, and no query has it.
    const key = `presence ${++this.#presences}`;
    // As text: the caller may go on to change what they gave.
    const entry = this.#add({ key, name, args, at, state: JSON.stringify(state) });
    const own = this.#read(entry, listener);
    let timer: ReturnType<typeof setTimeout> | undefined;
    let saidAt = 0;
    const say = () => {
      timer = undefined;
      saidAt = performance.now();
      if (entry.id !== 0) this.#line.send(asking(entry));
    };
    return {
      get current() {
        return own.current as Snapshot<PresenceMember<unknown>[]>;
      },
      set: (next) => {
        const text = JSON.stringify(next);
        if (text === entry.state) return;
        entry.state = text;
        // The last word counts: of a pointer that moves, say, not everything is told.
        timer ??= setTimeout(say, Math.max(0, saidAt + SAID_EVERY - performance.now()));
      },
      retry: () => {
        query.retry();
        own.retry();
      },
      stop: () => {
        clearTimeout(timer);
        own.stop();
        query.stop();
      },
    };
  }

  #entry(name: string, args: unknown): Entry {
    const key = keyOf(name, args);
    return this.#entries.get(key) ?? this.#add({ key, name, args, at: undefined, state: undefined });
  }

  #add(what: Pick<Entry, 'key' | 'name' | 'args' | 'at' | 'state'>): Entry {
    const entry: Entry = {
      ...what,
      readers: new Set(),
      listeners: new Set(),
      id: 0,
      asked: 0,
      version: undefined,
      result: undefined,
      shown: undefined,
      fresh: false,
      error: undefined,
      again: new Again(),
      updatedAt: undefined,
      snapshot: NOTHING,
    };
    this.#entries.set(entry.key, entry);
    return entry;
  }

  #read(entry: Entry, listener: Listener<unknown>): Subscription<unknown> {
    // That nothing is there is no news to somebody who begins.
    const reader: Reader = { listener, told: entry.snapshot.loading ? entry.snapshot : NOTHING };
    entry.readers.add(reader);
    this.#line.needed(true);
    if (entry.id === 0) this.#ask(entry);
    this.#tell([entry]);
    const own = entry;
    return {
      get current() {
        return own.snapshot;
      },
      retry: () => {
        if (own.readers.has(reader) && own.id === 0) this.#ask(own);
      },
      stop: () => {
        if (!own.readers.delete(reader) || own.readers.size > 0) return;
        // Not at once: a page that replaces one reader by another ends the one before it begins the other.
        queueMicrotask(() => {
          if (own.readers.size === 0 && this.#entries.get(own.key) === own) this.#remove(own);
        });
      },
    };
  }

  /** What a query shows now. */
  shown(key: string): unknown {
    return this.#entries.get(key)?.snapshot.data;
  }

  has(key: string): boolean {
    return this.#entries.has(key);
  }

  /** The connection is open: asks for everything, saying which copies are there. */
  resume(): void {
    for (const entry of this.#entries.values()) if (entry.id === 0) this.#ask(entry);
  }

  /** The connection is gone: what is there may be outdated. */
  dropped(): void {
    this.#byId.clear();
    for (const entry of this.#entries.values()) {
      entry.id = 0;
      entry.fresh = false;
    }
    this.#tell([...this.#entries.values()]);
  }

  /** What was read is not to be shown to whoever comes next. */
  forget(): void {
    this.layers.clear();
    for (const entry of this.#entries.values()) {
      empty(entry);
      // Another object, so that also those are told who show what they read before for other arguments.
      entry.snapshot = { ...NOTHING };
    }
    this.#tell([...this.#entries.values()]);
  }

  /** Nothing can be read. */
  refused(error: ForgeError): void {
    for (const entry of this.#entries.values()) entry.error = error;
    this.#tell([...this.#entries.values()]);
  }

  /** Ends every subscription. */
  clear(): void {
    for (const entry of this.#entries.values()) {
      entry.readers.clear();
      this.#remove(entry);
    }
  }

  /** Takes a frame in. */
  frame(message: Message): void {
    const { results, acks } = message;
    const changed = new Set<Entry>();
    const arrived = new Map<string, number>();
    const unusable = new Set<Entry>();
    for (const result of asResults(results)) {
      const entry = this.#byId.get(result['id']);
      // Of a subscription that has ended meanwhile.
      if (!entry) continue;
      if (!take(entry, result)) {
        unusable.add(entry);
        entry.fresh = false;
      } else arrived.set(entry.key, entry.asked);
      changed.add(entry);
    }
    const others = this.layers.framed(
      arrived,
      new Set(Array.isArray(acks) ? acks : []),
      new Set([...unusable].map((entry) => entry.key)),
      this.asked,
    );
    for (const entry of this.#withKeys(others)) changed.add(entry);
    for (const entry of unusable) {
      this.#leave(entry);
      entry.version = undefined;
      this.#ask(entry);
    }
    this.#tell([...changed]);
  }

  /** Something happened, beside results. */
  event({ id, name, data, missed }: Message): void {
    const entry = this.#byId.get(id);
    if (!entry || typeof name !== 'string') return;
    const event = { name, data, missed: typeof missed === 'number' ? missed : 0 };
    for (const listener of [...entry.listeners]) {
      // One may have left while others were told.
      if (!entry.listeners.has(listener)) continue;
      try {
        listener(event);
      } catch (cause) {
        report(cause);
      }
    }
  }

  /** A subscription failed. */
  failed(message: Message): void {
    const entry = this.#byId.get(message['id']);
    if (!entry) return;
    const error = errorOf(message);
    if (message['retryable'] !== true) {
      // A presence that could not be changed is still there.
      if (entry.at) this.#leave(entry);
      this.#byId.delete(entry.id);
      entry.id = 0;
      // What may not be seen any more is not shown any more.
      if (isForbidden(error)) empty(entry);
    }
    entry.error = error;
    entry.fresh = false;
    entry.again.after(error, () => {
      if (entry.id === 0) this.#ask(entry);
    });
    this.#tell([entry]);
  }

  #ask(entry: Entry): void {
    // One is present at what one is subscribed to: that is asked for first, and then this.
    if (!this.#line.open || entry.at?.id === 0) return;
    entry.id = this.#line.number();
    entry.asked = ++this.asked;
    this.#byId.set(entry.id, entry);
    this.#line.send(asking(entry));
    for (const other of this.#entries.values()) {
      if (other.at !== entry) continue;
      this.#leave(other);
      this.#ask(other);
    }
  }

  #leave(entry: Entry): void {
    if (entry.id === 0) return;
    this.#byId.delete(entry.id);
    this.#line.send({ type: 'unsubscribe', id: entry.id });
    entry.id = 0;
  }

  #remove(entry: Entry): void {
    this.#leave(entry);
    entry.again.over();
    this.#entries.delete(entry.key);
    if (this.#entries.size === 0) this.#line.needed(false);
  }

  #withKeys(keys: Iterable<string>): Entry[] {
    return [...keys].flatMap((key) => this.#entries.get(key) ?? []);
  }

  /** Tells readers what is new, once all of it is in place. */
  #tell(entries: readonly Entry[]): void {
    for (const entry of entries) this.#look(entry);
    for (const entry of entries) {
      for (const reader of [...entry.readers]) {
        // A reader may have been told, or have left, while others were told.
        if (reader.told === entry.snapshot || !entry.readers.has(reader)) continue;
        reader.told = entry.snapshot;
        try {
          reader.listener(entry.snapshot);
        } catch (cause) {
          report(cause);
        }
      }
    }
  }

  /** Makes the snapshot that fits what is known. */
  #look(entry: Entry): void {
    if (entry.shown === undefined || !this.layers.holds(entry.key)) entry.shown = entry.result;
    const there = entry.updatedAt !== undefined;
    const next: Snapshot<unknown> = {
      data: there ? this.layers.over(entry.key, entry.shown) : undefined,
      loading: !there && entry.error === undefined,
      error: entry.error,
      stale: there && !entry.fresh,
      updatedAt: entry.updatedAt,
    };
    const last = entry.snapshot;
    const same = (Object.keys(next) as (keyof Snapshot<unknown>)[]).every(
      (field) => next[field] === last[field],
    );
    if (!same) entry.snapshot = next;
  }
}

/** What asks for it. */
function asking({ id, name, args, version, at, state }: Entry): Message {
  return at
    ? { type: 'presence', id, of: at.id, state: state === undefined ? null : JSON.parse(state) }
    : { type: 'subscribe', id, function: name, args, version };
}

/** Takes a result over; says whether it could be used. */
function take(entry: Entry, result: Message): boolean {
  const { version, delta } = result;
  const known = entry.updatedAt !== undefined;
  if (typeof version !== 'string') return false;
  if (known && version === entry.version) {
    // The copy is right already. When that was known too, there is nothing to tell: the frame was sent twice.
    if (entry.fresh) return true;
  } else if ('data' in result) entry.result = result['data'];
  else {
    // Of the copy: whatever comes on a connection comes in order, and the back end knows what it has sent.
    try {
      entry.result = applyChange(entry.result, known && delta);
    } catch {
      return false;
    }
  }
  entry.version = version;
  entry.fresh = true;
  entry.error = undefined;
  entry.again.over();
  entry.updatedAt = new Date();
  return true;
}

/** Forgets the copy. */
function empty(entry: Entry): void {
  entry.version = undefined;
  entry.result = undefined;
  entry.shown = undefined;
  entry.error = undefined;
  entry.updatedAt = undefined;
  entry.fresh = false;
}

/** What a frame says of subscriptions. Changes are lists, as there are many of them: their names are put back. */
function asResults(value: unknown): Message[] {
  const results: unknown[] = Array.isArray(value) ? value : [];
  return results.map((result) =>
    Array.isArray(result)
      ? { id: result[0], version: result[1], delta: result.slice(2) }
      : (Object(result) as Message),
  );
}
