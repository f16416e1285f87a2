// One HTTP exchange: a request, the head of its reply, and then either the whole body within the deadline or its bytes as
// they come. Whatever fetch throws leaves as a typed error, or as the caller's own reason where the caller aborted.
import { ConnectionError, TimeoutError } from '../errors.ts'
import { type Clock, startClock } from './clock.ts'

export type Fetch = typeof fetch
export type Body = string | Uint8Array<ArrayBuffer> | ArrayBuffer | Blob | ReadableStream<Uint8Array>

export interface HTTPRequest {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Body | undefined
  /** ms from the request to the end of the body, or to the head where the body is streamed; 0 or undefined for none. */
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** Rejects with `ConnectionError`, `TimeoutError`, or the reason of the caller's signal. */
export async function exchange(fetch: Fetch, request: HTTPRequest): Promise<Reply> {
  const clock = startClock(request.timeoutMs, request.signal)
  const init: RequestInit & { duplex?: 'half' } = {
    method: request.method,
    headers: request.headers,
    signal: clock.signal,
    redirect: 'error',
  }
  if (request.body !== undefined) init.body = request.body
  // A stream as a body needs this word in Node; browsers that know streams as bodies insist on it too.
  if (request.body instanceof ReadableStream) init.duplex = 'half'
  try {
    return new Reply(await fetch(request.url, init), request, clock)
  } catch (cause) {
    clock.release()
    throw translate(cause, request, clock)
  }
}

export class Reply {
  readonly status: number
  readonly headers: Headers
  readonly #response: Response
  readonly #request: HTTPRequest
  readonly #clock: Clock

  constructor(response: Response, request: HTTPRequest, clock: Clock) {
    this.status = response.status
    this.headers = response.headers
    this.#response = response
    this.#request = request
    this.#clock = clock
  }

  get ok(): boolean {
    return this.#response.ok
  }

  /** The whole body, within the deadline of the exchange. */
  async text(): Promise<string> {
    return await this.#within(() => this.#response.text())
  }

  /** The whole body, without a deadline: it may be of any length. */
  async bytes(): Promise<Uint8Array> {
    this.#clock.stop()
    return await this.#within(async () => new Uint8Array(await this.#response.arrayBuffer()))
  }

  /** The body as it comes. The deadline ends here; the caller's signal goes on to count. */
  stream(): ReadableStream<Uint8Array> {
    this.#clock.stop()
    const reader = this.#response.body?.getReader()
    return new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        try {
          const next = await reader?.read()
          if (next === undefined || next.done) {
            this.#clock.release()
            controller.close()
          } else controller.enqueue(next.value)
        } catch (cause) {
          this.#clock.release()
          controller.error(translate(cause, this.#request, this.#clock))
        }
      },
      cancel: async (reason) => {
        this.#clock.release()
        await reader?.cancel(reason)
      },
    })
  }

  async #within<T>(read: () => Promise<T>): Promise<T> {
    try {
      return await read()
    } catch (cause) {
      throw translate(cause, this.#request, this.#clock)
    } finally {
      this.#clock.release()
    }
  }
}

function translate(cause: unknown, request: HTTPRequest, clock: Clock): unknown {
  if (request.signal?.aborted) return request.signal.reason
  const { origin, pathname } = new URL(request.url)
  if (clock.expired) {
    const message = `${request.method} ${pathname} was not answered by ${origin} in ${request.timeoutMs} ms`
    return new TimeoutError(message, { code: 'timeout' })
  }
  return new ConnectionError(`no answer from ${origin}: ${reason(cause)}`, { code: 'connection_failed', cause })
}

/** The innermost word of why: fetch says only "fetch failed", the system's code is in its causes. */
function reason(cause: unknown): string {
  let last: unknown = cause
  while (last instanceof Error && last.cause !== undefined) last = last.cause
  const code = (last as { code?: unknown } | undefined)?.code
  const known: Record<string, string> = {
    ECONNREFUSED: 'connection refused',
    ECONNRESET: 'the connection was reset',
    UND_ERR_SOCKET: 'the connection was closed',
    ENOTFOUND: 'the name does not resolve',
    EAI_AGAIN: 'the name does not resolve for now',
  }
  if (typeof code === 'string') return known[code] ?? code
  return last instanceof Error ? last.message : String(last)
}
