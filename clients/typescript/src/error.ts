/** What a call rejects with, whatever went wrong. */

/** Codes that this client makes itself, because no answer of the back end tells. */
export type ClientErrorCode =
  /** The back end could not be reached, or the connection broke before the answer was complete. */
  | 'NETWORK_ERROR'
  /** The answer is not one of the back end: a proxy's page, or a wrong `url`. */
  | 'BAD_RESPONSE'
  /** `getToken` threw. */
  | 'TOKEN_UNAVAILABLE'
  /** Something that the app gave this client threw or cannot be used: `headers`, `onSignedOut`, `optimistic`, `live`. */
  | 'CLIENT_ERROR';

/** Codes of the back end. `CANCELLED`, `TIMEOUT` and `INVALID_ARGUMENT` are also made here, and mean the same. */
export type ServerErrorCode =
  | 'INVALID_ARGUMENT'
  | 'VALIDATION_ERROR'
  | 'UNAUTHORIZED'
  | 'FORBIDDEN'
  | 'NOT_FOUND'
  | 'CONFLICT'
  | 'PAYLOAD_TOO_LARGE'
  | 'RATE_LIMITED'
  | 'CANCELLED'
  | 'TIMEOUT'
  | 'DATABASE_UNAVAILABLE'
  | 'OUTCOME_UNKNOWN'
  | 'DATABASE_ERROR'
  | 'INTERNAL_ERROR';

/** A code: one of those above, or one of the app's own. */
export type ForgeErrorCode = ClientErrorCode | ServerErrorCode | (string & {});

/** The sentences about each field that breaks a rule, by its path: `title`, `items.0.title`. */
export type FieldErrors = Readonly<Partial<Record<string, readonly string[]>>>;

/** What else is known about a failure. */
export interface ForgeErrorContext {
  details?: unknown;
  requestId?: string | undefined;
  status?: number | undefined;
  retryAfter?: number | undefined;
  cause?: unknown;
}

/** Anything that went wrong with a call. */
export class ForgeError extends Error {
  override readonly name = 'ForgeError';
  /** The stable word to decide by. */
  readonly code: ForgeErrorCode;
  /** What the back end says beside the message; its shape belongs to the code. */
  readonly details: unknown;
  /** With `VALIDATION_ERROR`: what is wrong with which field. Empty with every other code. */
  readonly fields: FieldErrors;
  /** The id under which the back end's log has this request. */
  readonly requestId: string | undefined;
  /** The HTTP status of the answer, when there was one. */
  readonly status: number | undefined;
  /** After how many seconds a repeat makes sense, when the back end said so. */
  readonly retryAfter: number | undefined;

  constructor(code: ForgeErrorCode, message: string, context: ForgeErrorContext = {}) {
    super(message, context.cause === undefined ? undefined : { cause: context.cause });
    this.code = code;
    this.details = context.details;
    this.fields = code === 'VALIDATION_ERROR' ? fieldErrors(context.details) : {};
    this.requestId = context.requestId;
    this.status = context.status;
    this.retryAfter = context.retryAfter;
  }
}

/** Takes the lists of sentences from the details and leaves anything else. */
function fieldErrors(details: unknown): FieldErrors {
  // Without a prototype, a field that is called `constructor` has no errors unless it really has some.
  const fields: Partial<Record<string, readonly string[]>> = Object.create(null);
  if (typeof details === 'object' && details !== null) {
    for (const [path, sentences] of Object.entries(details)) {
      if (Array.isArray(sentences)) fields[path] = sentences.filter((s) => typeof s === 'string');
    }
  }
  return fields;
}

/** Whether the same call may succeed a moment later, with nothing done twice. */
export function mayPass({ code, status }: ForgeError): boolean {
  return (
    code === 'NETWORK_ERROR' ||
    // Not every answer over the connection has a status.
    ((status ?? 503) === 503 && (code === 'DATABASE_UNAVAILABLE' || code === 'OUTCOME_UNKNOWN')) ||
    // What a proxy says while the back end behind it restarts.
    (code === 'BAD_RESPONSE' && (status === 502 || status === 503 || status === 504))
  );
}

/** Whether an error says that whoever asked may not see it (any more), whatever code the app gave it. */
export function isForbidden({ code, status }: ForgeError): boolean {
  return status === 401 || status === 403 || code === 'UNAUTHORIZED' || code === 'FORBIDDEN';
}

/** What a thrown value says, whatever it is. */
export function why(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
