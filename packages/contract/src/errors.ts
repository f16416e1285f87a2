// Every error the API answers with. The body is `{ code, message, error, requestId }`: `code` is the HTTP status as a
// number, because E2B's clients compare it; `error` is the stable word below, for programs.

export const errors = {
  bad_request: {
    status: 400,
    means: 'The request is malformed: the message names the field, what was wrong and the limit.',
  },
  unauthorized: { status: 401, means: 'No credentials, or credentials that are not valid.' },
  forbidden: { status: 403, means: 'The credentials are valid and do not allow this.' },
  not_found: { status: 404, means: 'There is no such route.' },
  sandbox_not_found: { status: 404, means: 'Your team has no live sandbox of that id.' },
  template_not_found: { status: 404, means: 'Your team can see no template of that id or name.' },
  key_not_found: { status: 404, means: 'Your team has no API key of that id.' },
  file_not_found: { status: 404, means: 'There is no such file in the sandbox.' },
  method_not_allowed: { status: 405, means: 'The route exists, with other methods.' },
  request_timeout: { status: 408, means: 'The request did not arrive in its time.' },
  already_paused: { status: 409, means: 'The sandbox is paused already.' },
  not_paused: { status: 409, means: 'Only a paused sandbox can be resumed.' },
  sandbox_not_running: { status: 409, means: 'The sandbox is not running: the message names its state.' },
  sandbox_moving: { status: 409, means: 'Another operation on the sandbox is under way.' },
  last_key: { status: 409, means: 'The key that makes the request cannot delete itself.' },
  payload_too_large: { status: 413, means: 'The body is longer than the limit that the message names.' },
  unsupported_media_type: { status: 415, means: 'The body is of a type that the route does not take.' },
  idempotency_mismatch: { status: 422, means: 'The Idempotency-Key was used with another request body.' },
  headers_too_large: { status: 431, means: 'The request headers are longer than the limit.' },
  internal: { status: 500, means: 'A defect of Lelantos: the request id finds it in the log.' },
  create_failed: { status: 500, means: 'The sandbox could not be created: the message says why.' },
  pause_failed: { status: 500, means: 'The pause could not be written; the sandbox is running.' },
  resume_failed: { status: 500, means: 'The resume failed; the sandbox is paused as it was.' },
  not_supported: { status: 501, means: 'A part of the foreign API that Lelantos does not have.' },
  sandbox_unreachable: { status: 502, means: 'The sandbox did not answer.' },
  capacity_unavailable: {
    status: 503,
    means: 'No worker has room for another sandbox: come again when one has ended, or raise the limit.',
  },
  disk_full: { status: 503, means: 'The VM volume is below its reserve.' },
  unavailable: { status: 503, means: 'A part of the installation is away for a moment: store, bus or worker.' },
  operation_timeout: {
    status: 504,
    means:
      'The operation has not finished in its time; it goes on or is undone, and the state of the sandbox tells which.',
  },
  sandbox_disk_full: { status: 507, means: "The sandbox's own disk is full." },
} as const satisfies Record<string, { status: number; means: string }>

export type ErrorCode = keyof typeof errors

/** A refusal on its way to the client: a value of the domain, not a fault. */
export interface Refusal {
  readonly error: ErrorCode
  readonly message: string
  /** Seconds after which trying again makes sense; becomes the `Retry-After` header. */
  readonly retryAfter?: number
}

/** Thrown by a verb to refuse: `http/` turns it into a response, and nothing else catches it. */
export class Refused extends Error {
  readonly refusal: Refusal
  constructor(error: ErrorCode, message: string, retryAfter?: number) {
    super(message)
    this.name = 'Refused'
    this.refusal = { error, message, ...(retryAfter === undefined ? {} : { retryAfter }) }
  }
}
