/**
 * The other way to the back end, where no WebSocket gets through: what it says comes as a stream of events (`GET
 * /events`), what it is told goes by requests (`POST /events/{sessionId}`). Read with `fetch`, as an `EventSource` cannot
 * say who is asking.
 *
 * Loaded only by pages that need it.
 */

import { type Link, type LinkOwner, SIGNED_OUT, TOO_BUSY } from './link.js';
import { readMessage } from './message.js';

/** How requests are made. */
export interface Http {
  fetch: typeof fetch;
  /** The headers that every request has; a token says for whom. */
  headers(token: string | undefined): Headers;
  credentials: RequestCredentials;
}

/** How many messages one request carries at most. */
const BATCH_MAX = 100;

/** Opens a stream. */
export function openEvents(url: string, http: Http, token: string | undefined, owner: LinkOwner): Link {
  const controller = new AbortController();
  const { signal } = controller;
  const { credentials } = http;
  let session: string | undefined;
  let speaker = token;
  let waiting: string[] = [];
  let sending = false;

  function end(code: number): void {
    if (signal.aborted) return;
    controller.abort();
    owner.ended(code);
  }

  async function read(): Promise<void> {
    const headers = http.headers(token);
    headers.set('accept', 'text/event-stream');
    headers.delete('content-type');
    const init: RequestInit = { headers, credentials, signal, cache: 'no-store' };
    const response = await http.fetch(url, init);
    const type = response.headers.get('content-type') ?? '';
    if (!response.ok) return end(codeOf(response.status));
    // Whatever it is, it does not come from the back end.
    if (!response.body || !type.startsWith('text/event-stream')) return end(TOO_BUSY);
    owner.opened();
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    const take = events((data) => {
      session ??= readMessage(data)?.['sessionId'] as string | undefined;
      owner.heard(data);
    });
    for (;;) {
      const { value, done } = await reader.read();
      if (done || signal.aborted) return end(0);
      owner.alive();
      take(decoder.decode(value, { stream: true }));
    }
  }

  /** Sends what waits, one request after the other, so that the order stays. */
  async function write(): Promise<void> {
    if (sending || session === undefined) return;
    sending = true;
    while (waiting.length > 0 && !signal.aborted) {
      const batch = waiting.slice(0, BATCH_MAX);
      waiting = waiting.slice(BATCH_MAX);
      const headers = http.headers(speaker);
      const to = `${url}/${encodeURIComponent(session)}`;
      const body = `[${batch.join(',')}]`;
      const init: RequestInit = { method: 'POST', headers, body, credentials, signal };
      const { ok, status } = await http.fetch(to, init);
      // A session that is not known any more (404) is opened anew.
      if (!ok) end(codeOf(status));
    }
    sending = false;
  }

  read().catch(() => end(0));
  return {
    introduced: true,
    send: (text, token) => {
      speaker = token;
      waiting.push(text);
      // What is said in one go goes together.
      queueMicrotask(() => write().catch(() => end(0)));
    },
    close: () => controller.abort(),
  };
}

/** The code that a status means. */
function codeOf(status: number): number {
  if (status === 401) return SIGNED_OUT;
  return status === 404 ? 0 : TOO_BUSY;
}

/** Takes a stream of events apart: gives a function that takes its text, piece by piece. */
export function events(told: (data: string) => void): (text: string) => void {
  let rest = '';
  let data: string[] = [];
  return (text) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const full of lines) {
      const line = full.endsWith('\r') ? full.slice(0, -1) : full;
      if (line.startsWith('data:')) data.push(line.slice(line[5] === ' ' ? 6 : 5));
      else if (line === '' && data.length > 0) {
        const whole = data.join('\n');
        data = [];
        told(whole);
      }
    }
  };
}
