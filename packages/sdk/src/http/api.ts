// The control plane's side: every call is a route of the contract. Refusals of 429 and 503 are tried again as the server
// says, where repeating is safe: reads, deletions, deadlines, and a create that carries an idempotency key.
import {
  ConnectionError,
  errorFromReply,
  InvalidRequestError,
  LelantosError,
  RateLimitError,
  UnavailableError,
} from '../errors.ts'
import { type Calls, routes } from '../wire.ts'
import { pause } from './clock.ts'
import { exchange, type Fetch, type Reply } from './exchange.ts'

export interface CallOptions {
  /** Gives up, also between retries; its reason is thrown. */
  readonly signal?: AbortSignal | undefined
  /** ms that one request may take; the client's unless given. */
  readonly requestTimeoutMs?: number | undefined
}

export interface Call<R extends keyof Calls> extends CallOptions {
  readonly params?: Readonly<Record<string, string>>
  readonly query?: Calls[R]['query']
  readonly body?: Calls[R]['body']
  readonly headers?: Readonly<Record<string, string>>
  /** Doing it twice is doing it once. Reads and deletions are so by themselves. */
  readonly repeatable?: boolean
}

export interface APIOptions {
  readonly baseURL: string
  readonly apiKey: string
  /** ms for one request; undefined means 30 s, and 90 s where the server makes, pauses or resumes a sandbox. */
  readonly timeoutMs: number | undefined
  readonly retries: number
  readonly fetch: Fetch
}

const TIMEOUT_MS = 30_000
/** The server itself answers these within 60 s. */
const LIFECYCLE_TIMEOUT_MS = 90_000
const lifecycle: ReadonlySet<keyof Calls> = new Set(['createSandbox', 'pauseSandbox', 'resumeSandbox'])

/** A wait longer than this is the caller's decision: the refusal is thrown with its `retryAfter`. */
const RETRY_AFTER_MAX_SECONDS = 30

export class API {
  readonly baseURL: string
  readonly #options: APIOptions

  constructor(options: APIOptions) {
    this.baseURL = options.baseURL
    this.#options = options
  }

  async call<R extends keyof Calls>(route: R, call: Call<R> = {}): Promise<Calls[R]['reply']> {
    return (await this.callWithHeaders(route, call)).reply
  }

  async callWithHeaders<R extends keyof Calls>(
    route: R,
    call: Call<R> = {},
  ): Promise<{ reply: Calls[R]['reply']; headers: Headers }> {
    const repeatable = call.repeatable ?? routes[route].method !== 'POST'
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#once(route, call)
      } catch (error) {
        const waitMs = repeatable ? retryDelayMs(error, attempt, this.#options.retries) : undefined
        if (waitMs === undefined) throw error
        await pause(waitMs, call.signal)
      }
    }
  }

  async #once<R extends keyof Calls>(route: R, call: Call<R>): Promise<{ reply: Calls[R]['reply']; headers: Headers }> {
    call.signal?.throwIfAborted()
    const { method, path } = routes[route]
    const reply = await exchange(this.#options.fetch, {
      method,
      url: this.baseURL + fill(path, call.params ?? {}) + queryText(call.query),
      headers: {
        'X-API-Key': this.#options.apiKey,
        Accept: 'application/json',
        ...(call.body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...call.headers,
      },
      body: call.body === undefined ? undefined : JSON.stringify(call.body),
      timeoutMs:
        call.requestTimeoutMs ?? this.#options.timeoutMs ?? (lifecycle.has(route) ? LIFECYCLE_TIMEOUT_MS : TIMEOUT_MS),
      signal: call.signal,
    })
    return { reply: (await parse(`${method} ${path}`, reply)) as Calls[R]['reply'], headers: reply.headers }
  }
}

async function parse(what: string, reply: Reply): Promise<unknown> {
  const text = await reply.text()
  if (!reply.ok) throw errorFromReply(what, reply, text)
  if (text === '') return undefined
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new LelantosError(`${what} was answered with status ${reply.status} and a body that is not JSON`, {
      code: 'invalid_reply',
      status: reply.status,
      cause,
    })
  }
}

/** How long to wait before the next attempt; undefined where there is none. A lost connection is tried again once. */
export function retryDelayMs(error: unknown, attempt: number, retries: number): number | undefined {
  if (attempt >= retries) return undefined
  if (error instanceof ConnectionError) return attempt === 0 ? 100 : undefined
  const refused = error instanceof RateLimitError || (error instanceof UnavailableError && error.status === 503)
  if (!refused) return undefined
  if (error.retryAfter === undefined) return 500 * 2 ** attempt * (0.75 + Math.random() / 2)
  return error.retryAfter > RETRY_AFTER_MAX_SECONDS ? undefined : error.retryAfter * 1000
}

function fill(path: string, params: Readonly<Record<string, string>>): string {
  return path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = params[name] ?? ''
    // An empty segment or a segment of dots would name another route.
    if (!/^[\w:.-]*[\w-][\w:.-]*$/.test(value)) {
      throw new InvalidRequestError(`${name} must be letters, digits, _ . : or -, got ${JSON.stringify(value)}`, {
        code: 'invalid_option',
      })
    }
    return encodeURIComponent(value)
  })
}

function queryText(query: object | undefined): string {
  const pairs = Object.entries(query ?? {}).filter(([, value]) => value !== undefined)
  if (pairs.length === 0) return ''
  return `?${pairs.map(([key, value]) => `${key}=${encodeURIComponent(String(value))}`).join('&')}`
}
