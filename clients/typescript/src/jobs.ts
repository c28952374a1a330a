/**
 * Jobs that are followed: how each stands, as the back end tells it. Whoever follows the same job shares one subscription;
 * it is asked for again when the connection was down, until the job has ended.
 */

import { Again } from './again.js';
import { ForgeError, isForbidden } from './error.js';
import { type Message, errorOf } from './message.js';
import { report } from './optimistic.js';
import type { Line } from './subscriptions.js';

/** Where a job is: it waits, runs, waits to be tried again, or has ended in one of four ways. */
export type JobStatus =
  | 'pending'
  | 'running'
  | 'retry'
  | 'completed'
  | 'dead_letter'
  | 'cancelled'
  | 'discarded';

/** What is known of a job at one moment. Never changed: there is another one when something changes. */
export interface JobSnapshot<Output> {
  /** Where it is; nothing before that is known. */
  readonly status: JobStatus | undefined;
  /** How often it was begun. */
  readonly attempt: number;
  /** How far it says to be, in percent; 100 once it is completed. */
  readonly progress: number | undefined;
  /** Its words for that. */
  readonly message: string | undefined;
  /** What it gives back, once it is completed. */
  readonly output: Output | undefined;
  /** Why its last attempt failed, or why it cannot be followed. */
  readonly error: ForgeError | undefined;
  /** Whether there will be no more news: it has ended, or cannot be followed. */
  readonly done: boolean;
  /** Whether it may have got on meanwhile, because the connection is down. */
  readonly stale: boolean;
}

/** Is told how a job stands, each time that changes. */
export type JobListener<Output> = (snapshot: JobSnapshot<Output>) => void;

/** A job that is followed. */
export interface JobTracker<Output> {
  /** How it stands now. */
  readonly current: JobSnapshot<Output>;
  /** Does not follow it any more. */
  stop(): void;
}

/** What is known before anything is. */
export const NO_NEWS: JobSnapshot<never> = Object.freeze({
  status: undefined,
  attempt: 0,
  progress: undefined,
  message: undefined,
  output: undefined,
  error: undefined,
  done: false,
  stale: false,
});

interface Followed {
  readonly key: string;
  readonly name: string;
  readonly jobId: string;
  readonly listeners: Set<JobListener<unknown>>;
  /** The number of the subscription on this connection; 0 while there is none. */
  id: number;
  readonly again: Again;
  snapshot: JobSnapshot<unknown>;
}

export class Jobs {
  readonly #line: Line;
  readonly #all = new Map<string, Followed>();
  readonly #byId = new Map<unknown, Followed>();

  constructor(line: Line) {
    this.#line = line;
  }

  /** Begins to follow a job. The listener is called at once when something is known already. */
  track(name: string, jobId: string, listener: JobListener<unknown>): JobTracker<unknown> {
    const key = `${name} ${jobId}`;
    let job = this.#all.get(key);
    if (!job) {
      job = { key, name, jobId, listeners: new Set(), id: 0, again: new Again(), snapshot: NO_NEWS };
      this.#all.set(key, job);
    }
    const own: JobListener<unknown> = (snapshot) => listener(snapshot);
    job.listeners.add(own);
    this.#line.needed(true);
    if (job.id === 0 && !job.snapshot.done) this.#ask(job);
    if (job.snapshot !== NO_NEWS) tell(own, job.snapshot);
    const followed = job;
    return {
      get current() {
        return followed.snapshot;
      },
      stop: () => {
        if (!followed.listeners.delete(own) || followed.listeners.size > 0) return;
        // Not at once: a page that replaces one reader by another ends the one before it begins the other.
        queueMicrotask(() => {
          if (followed.listeners.size === 0 && this.#all.get(key) === followed) this.#remove(followed);
        });
      },
    };
  }

  /** The connection is open: asks for all that have not ended. */
  resume(): void {
    for (const job of this.#all.values()) if (job.id === 0 && !job.snapshot.done) this.#ask(job);
  }

  /** The connection is gone. */
  dropped(): void {
    this.#byId.clear();
    for (const job of this.#all.values()) {
      job.id = 0;
      if (!job.snapshot.done) this.#become(job, { ...job.snapshot, stale: true });
    }
  }

  /** What was told is not to be shown to whoever comes next. */
  forget(): void {
    for (const job of this.#all.values()) this.#become(job, { ...NO_NEWS });
  }

  /** Nothing can be followed. */
  refused(error: ForgeError): void {
    for (const job of this.#all.values())
      if (!job.snapshot.done) this.#become(job, { ...job.snapshot, error });
  }

  /** Follows none any more. */
  clear(): void {
    for (const job of this.#all.values()) {
      job.listeners.clear();
      this.#remove(job);
    }
  }

  /** News of a job. */
  told(message: Message): void {
    const job = this.#byId.get(message['id']);
    if (!job) return;
    const { job: name, status, attempt, progress, message: words, output, error } = message;
    if (name !== job.name) {
      this.#leave(job);
      const text = `the job ${job.jobId} is a ${String(name)}, and not a ${job.name}`;
      this.#become(job, { ...NO_NEWS, error: new ForgeError('CLIENT_ERROR', text), done: true });
      return;
    }
    job.again.over();
    const done = !['pending', 'running', 'retry'].includes(String(status));
    if (done) this.#over(job);
    this.#become(job, {
      status: status as JobStatus,
      attempt: Number(attempt),
      progress: typeof progress === 'number' ? progress : undefined,
      message: typeof words === 'string' ? words : undefined,
      output,
      error: typeof error === 'object' && error !== null ? errorOf(error as Message) : undefined,
      done,
      stale: false,
    });
  }

  /** It cannot be followed, or not any more. Says whether it was a job. */
  failed(message: Message): boolean {
    const job = this.#byId.get(message['id']);
    if (!job) return false;
    const error = errorOf(message);
    this.#over(job);
    const again = job.again.after(error, () => {
      if (job.id === 0) this.#ask(job);
    });
    // What may not be seen any more is not shown any more.
    const known = isForbidden(error) ? NO_NEWS : job.snapshot;
    this.#become(job, { ...known, error, done: !again });
    return true;
  }

  #ask(job: Followed): void {
    if (!this.#line.open) return;
    job.id = this.#line.number();
    this.#byId.set(job.id, job);
    this.#line.send({ type: 'subscribeJob', id: job.id, jobId: job.jobId });
  }

  /** The back end says nothing more under its number. */
  #over(job: Followed): void {
    this.#byId.delete(job.id);
    job.id = 0;
  }

  #leave(job: Followed): void {
    if (job.id === 0) return;
    this.#line.send({ type: 'unsubscribe', id: job.id });
    this.#over(job);
  }

  #remove(job: Followed): void {
    this.#leave(job);
    job.again.over();
    this.#all.delete(job.key);
    if (this.#all.size === 0) this.#line.needed(false);
  }

  #become(job: Followed, snapshot: JobSnapshot<unknown>): void {
    job.snapshot = snapshot;
    for (const listener of [...job.listeners])
      // One may have left while others were told.
      if (job.listeners.has(listener)) tell(listener, snapshot);
  }
}

function tell(listener: JobListener<unknown>, snapshot: JobSnapshot<unknown>): void {
  try {
    listener(snapshot);
  } catch (cause) {
    report(cause);
  }
}
