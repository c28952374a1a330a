/** What carries the messages of a connection: a WebSocket, or a stream of events with requests beside it. */

/** A way to the back end, for as long as it lasts. */
export interface Link {
  /** Whether whoever it speaks for was named when it was opened; if not, a first message `auth` says so. */
  readonly introduced: boolean;
  /** Sends a message; `token` is that of whoever it speaks for. */
  send(text: string, token: string | undefined): void;
  /** Lets go of it. It tells nothing more. */
  close(): void;
}

/** What a link tells. */
export interface LinkOwner {
  /** Messages can be sent. */
  opened(): void;
  /** The other end is there. */
  alive(): void;
  /** A message. */
  heard(data: unknown): void;
  /** It has ended, or was never there; the code says why, as that of a WebSocket's close does. */
  ended(code: number): void;
}

/** The status codes of RFC 6455 and ours. */
export const RESTARTING = 1012;
export const TOO_BUSY = 1013;
export const PROTOCOL_BROKEN = 4400;
export const SIGNED_OUT = 4401;

/** Opens a WebSocket. */
export function openWebSocket(
  Socket: new (url: string, protocol: string) => WebSocket,
  url: string,
  owner: LinkOwner,
): Link {
  const socket = new Socket(url, 'forge.v1');
  socket.onopen = () => owner.opened();
  socket.onmessage = ({ data }) => owner.heard(data);
  // The end follows an error, or should: not every engine says so when the connection could not even be opened.
  socket.onerror = () => owner.ended(0);
  socket.onclose = ({ code }) => owner.ended(code);
  return {
    introduced: false,
    send: (text) => {
      if (socket.readyState === 1) socket.send(text);
    },
    // Not waited for: a connection that is dead would take its time.
    close: () => socket.close(),
  };
}
