/** What crosses the connection. */

import { ForgeError } from './error.js';

/** A message, either way: one JSON object with its `type`. */
export type Message = { [field: string]: unknown };

/** Reads a message; gives nothing when it is none of the back end. */
export function readMessage(text: unknown): Message | undefined {
  try {
    const message: unknown = JSON.parse(String(text));
    return typeof message === 'object' && message !== null ? (message as Message) : undefined;
  } catch {
    // Not JSON, hence not of the back end.
    return undefined;
  }
}

/** The error that a message reports. */
export function errorOf(reported: Message): ForgeError {
  const { code, message, details, status, retryAfter } = reported;
  if (typeof code === 'string' && typeof message === 'string')
    return new ForgeError(code, message, {
      details,
      status: typeof status === 'number' ? status : undefined,
      retryAfter: typeof retryAfter === 'number' ? retryAfter : undefined,
    });
  return new ForgeError('BAD_RESPONSE', 'the back end reports an error without saying which');
}
