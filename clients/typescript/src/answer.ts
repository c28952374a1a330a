/** Reads what the back end answers. */

import { ForgeError } from './error.js';

/** An answer: a result, or the error that it reports. */
export interface Answer {
  readonly data: unknown;
  readonly error: ForgeError | undefined;
  /** What it says of the session that a browser's cookies hold, which no script can see: `started`, `renew`, `ended`. */
  readonly session: string | null;
  /** Whether it refuses what the call was made with, so that nothing of the call was begun. */
  readonly refused: boolean;
}

/** Reads an answer. `name` says what was asked. */
export function readAnswer(name: string, response: Response, text: string): Answer {
  const session = response.headers.get('x-forge-session');
  const refused = /\berror="?invalid_token\b/.test(response.headers.get('www-authenticate') ?? '');
  const { status } = response;
  const answer = parse(text);
  const requestId = typeof answer?.['requestId'] === 'string' ? answer['requestId'] : undefined;
  if (answer?.['success'] === true && 'data' in answer)
    return { data: answer['data'], error: undefined, session, refused };
  const retryAfter = secondsOf(response.headers.get('retry-after'));
  const failed = (code: string, message: string, details?: unknown): Answer => ({
    data: undefined,
    error: new ForgeError(code, message, { details, requestId, status, retryAfter }),
    session,
    refused,
  });
  const error = answer?.['success'] === false ? asObject(answer['error']) : undefined;
  if (typeof error?.['code'] === 'string' && typeof error['message'] === 'string')
    return failed(error['code'], error['message'], error['details']);
  const type = response.headers.get('content-type') ?? 'no content type';
  return failed(
    'BAD_RESPONSE',
    `the answer to ${name} does not come from the back end (status ${status}, ${type}): check the client's url, and what stands in between`,
  );
}

/** Whether an error says that the caller is nobody: a 401 of the back end's own, not a proxy's. */
export function isRefusal(error: ForgeError | undefined): error is ForgeError {
  return error?.status === 401 && error.code !== 'BAD_RESPONSE';
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
