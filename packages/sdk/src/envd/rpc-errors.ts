// The errors of Connect's protocol, as the guest daemon sends them: `{ code, message }` in an error reply or in the last
// message of a stream.
import {
  AuthenticationError,
  ConflictError,
  errorFromReply,
  InvalidRequestError,
  LelantosError,
  NotFoundError,
  TimeoutError,
  UnavailableError,
} from '../errors.ts'
import type { ErrorDetails } from '../errors.ts'

type Kind = readonly [type: typeof LelantosError, code: ErrorDetails['code']]

const kinds: Readonly<Record<string, Kind>> = {
  invalid_argument: [InvalidRequestError, 'bad_request'],
  failed_precondition: [ConflictError, 'bad_request'],
  out_of_range: [InvalidRequestError, 'bad_request'],
  unimplemented: [InvalidRequestError, 'not_supported'],
  not_found: [NotFoundError, 'file_not_found'],
  already_exists: [ConflictError, 'already_exists'],
  permission_denied: [AuthenticationError, 'forbidden'],
  unauthenticated: [AuthenticationError, 'unauthorized'],
  resource_exhausted: [UnavailableError, 'disk_full'],
  unavailable: [UnavailableError, 'sandbox_unreachable'],
  deadline_exceeded: [TimeoutError, 'command_timeout'],
}

/** The error that a Connect error stands for; `what` names the thing that was asked for. */
export function errorFromConnect(what: string, error: { code?: unknown; message?: unknown }): LelantosError {
  const [type, code] = kinds[String(error.code)] ?? [LelantosError, 'internal' as const]
  const message = typeof error.message === 'string' && error.message !== '' ? error.message : String(error.code)
  return new type(`${what}: ${message}`, { code })
}

/** The error of a reply that is not a success: of the daemon (Connect), or of the edge before it. */
export function errorFromGuestReply(
  what: string,
  reply: { readonly status: number; readonly headers: Headers },
  text: string,
): LelantosError {
  try {
    const body = JSON.parse(text) as { code?: unknown; message?: unknown }
    if (typeof body.code === 'string') return errorFromConnect(what, body)
  } catch {
    // not the daemon's: read by status below
  }
  return errorFromReply(what, reply, text)
}
