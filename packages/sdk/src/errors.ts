// Everything the SDK throws is a `LelantosError`, but for the reason of an abort, which is thrown as it is. `code` is a
// stable word for programs, the message is for people. No error carries the API key or a token.
import type { ErrorCode } from './wire.ts'

/** Words for what the client itself finds, beside those of the API. */
export type ClientErrorCode =
  | 'connection_failed'
  | 'timeout'
  | 'command_timeout'
  | 'invalid_reply'
  | 'invalid_option'
  | 'already_exists'
  | 'rate_limited'
  | 'no_metrics'

export interface ErrorDetails {
  readonly code: ErrorCode | ClientErrorCode
  /** HTTP status of the reply; absent where there was none. */
  readonly status?: number | undefined
  /** Finds the request in the server's log. */
  readonly requestId?: string | undefined
  /** Seconds after which trying again makes sense, where the server said so. */
  readonly retryAfter?: number | undefined
  readonly cause?: unknown
}

/** Root of everything the SDK throws. */
export class LelantosError extends Error {
  readonly code: ErrorCode | ClientErrorCode
  readonly status: number | undefined
  readonly requestId: string | undefined
  readonly retryAfter: number | undefined

  constructor(message: string, details: ErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = new.target.name
    this.code = details.code
    this.status = details.status
    this.requestId = details.requestId
    this.retryAfter = details.retryAfter
  }
}

/** The request was wrong: the message names the field and the limit. Status 400, 413, 415, 422, 431, 501. */
export class InvalidRequestError extends LelantosError {}
/** No credentials, or they are not valid or not enough. Status 401, 403. */
export class AuthenticationError extends LelantosError {}
/** Sandbox, template, key or file is not there. Status 404. */
export class NotFoundError extends LelantosError {}
/** The thing is in a state that does not allow this; the message names it. Status 409. */
export class ConflictError extends LelantosError {}
/** Too many requests, in the opinion of a proxy before the API. Status 429. */
export class RateLimitError extends LelantosError {}
/** A part of the installation, or the sandbox, does not answer for now. Status 502, 503. */
export class UnavailableError extends LelantosError {}
/** No room for another sandbox. Status 503. */
export class CapacityError extends UnavailableError {}
/** Not done in its time. Status 504, or none where the client stopped waiting. */
export class TimeoutError extends LelantosError {}
/** No reply: the server could not be reached, or the connection was lost. */
export class ConnectionError extends LelantosError {}

const byStatus: Record<number, { readonly type: typeof LelantosError; readonly code: LelantosError['code'] }> = {
  400: { type: InvalidRequestError, code: 'bad_request' },
  401: { type: AuthenticationError, code: 'unauthorized' },
  403: { type: AuthenticationError, code: 'forbidden' },
  404: { type: NotFoundError, code: 'not_found' },
  405: { type: InvalidRequestError, code: 'method_not_allowed' },
  409: { type: ConflictError, code: 'sandbox_moving' },
  413: { type: InvalidRequestError, code: 'payload_too_large' },
  415: { type: InvalidRequestError, code: 'unsupported_media_type' },
  422: { type: InvalidRequestError, code: 'idempotency_mismatch' },
  429: { type: RateLimitError, code: 'rate_limited' },
  431: { type: InvalidRequestError, code: 'headers_too_large' },
  501: { type: InvalidRequestError, code: 'not_supported' },
  502: { type: UnavailableError, code: 'sandbox_unreachable' },
  503: { type: UnavailableError, code: 'unavailable' },
  504: { type: TimeoutError, code: 'operation_timeout' },
  507: { type: UnavailableError, code: 'disk_full' },
}

/** The error that a reply with this status and body stands for. `what` names the request where the body has no message. */
export function errorFromReply(
  what: string,
  reply: { readonly status: number; readonly headers: Headers },
  text: string,
): LelantosError {
  const body = readBody(text)
  const known = byStatus[reply.status] ?? { type: LelantosError, code: 'internal' as const }
  const code = (body.error as ErrorCode | undefined) ?? known.code
  // The edge answers 502 for a sandbox that is not there, as E2B's clients expect.
  const gone = reply.status === 502 && /was not found/.test(body.message ?? '')
  let type = code === 'capacity_unavailable' ? CapacityError : known.type
  if (gone) type = NotFoundError
  const message = gone
    ? `sandbox ${body.sandboxId ?? ''} is not running: it is paused, or has ended (${what})`
    : (body.message ?? `${what} was answered with status ${reply.status}`)
  return new type(message, {
    code: gone ? 'sandbox_not_found' : code,
    status: reply.status,
    requestId: body.requestId ?? reply.headers.get('x-request-id') ?? undefined,
    retryAfter: retryAfterSeconds(reply.headers),
  })
}

/** Seconds, from either form that the Retry-After header may have. */
export function retryAfterSeconds(headers: Headers, now = Date.now()): number | undefined {
  const value = headers.get('retry-after')
  if (value === null || value.trim() === '') return undefined
  const seconds = Number(value)
  if (Number.isFinite(seconds)) return Math.max(0, seconds)
  const date = Date.parse(value)
  return Number.isNaN(date) ? undefined : Math.max(0, (date - now) / 1000)
}

function readBody(text: string): {
  message?: string | undefined
  error?: string | undefined
  requestId?: string | undefined
  sandboxId?: string | undefined
} {
  try {
    const body = JSON.parse(text) as Record<string, unknown>
    const word = (value: unknown) => (typeof value === 'string' && value !== '' ? value : undefined)
    return {
      message: word(body['message']),
      error: word(body['error']),
      requestId: word(body['requestId']),
      sandboxId: word(body['sandboxId']),
    }
  } catch {
    return {}
  }
}
