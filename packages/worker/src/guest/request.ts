// One HTTP request to a guest, bounded in everything: the guest is never trusted.
import { request as httpRequest } from 'node:http'
import { connect, type Socket } from 'node:net'
import { ports } from '@lelantos-ai/contract'
import { GuestError } from './guest.ts'

export interface GuestRequest {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  /** Made when the connection stands, so that a time in it is as fresh as can be. */
  readonly body?: () => { readonly type: string; readonly content: string | Uint8Array }
  /** From the connection to the last byte of the reply. */
  readonly replyMs: number
}

export interface GuestReply {
  readonly status: number
  readonly body: Buffer
}

const REPLY_BYTES_MAX = 1_048_576

/** Connects until the signal aborts. Rejects with `GuestError`, or with what went wrong once connected. */
export async function requestGuest(address: string, wanted: GuestRequest, signal: AbortSignal): Promise<GuestReply> {
  const socket = await connected(address, signal)
  const body = wanted.body?.()
  const headers = {
    connection: 'close',
    ...wanted.headers,
    ...(body === undefined ? {} : { 'content-type': body.type, 'content-length': Buffer.byteLength(body.content) }),
  }
  return new Promise<GuestReply>((resolve, reject) => {
    const request = httpRequest({
      host: address,
      port: ports.envd,
      method: wanted.method,
      path: wanted.path,
      headers,
      agent: false,
      createConnection: () => socket,
      signal,
    })
    const timer = setTimeout(
      () => request.destroy(new Error(`the guest did not answer ${wanted.path} in ${wanted.replyMs} ms`)),
      wanted.replyMs,
    )
    request.once('close', () => clearTimeout(timer))
    request.once('error', reject)
    request.once('response', (response) => {
      const parts: Buffer[] = []
      let bytes = 0
      response.on('data', (part: Buffer) => {
        bytes += part.length
        if (bytes <= REPLY_BYTES_MAX) parts.push(part)
        else {
          reject(new GuestError(`the guest's reply to ${wanted.path} is longer than ${REPLY_BYTES_MAX} bytes`))
          request.destroy()
        }
      })
      response.once('error', reject)
      response.once('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(parts) }))
    })
    request.end(body?.content)
  })
}

/** Right after a restore. Later attempts come more slowly, since a guest that has not answered by then is busy. */
const NEXT_MS = { first: 30, longest: 500 }
const ATTEMPTS_AT_ONCE = 8

/**
 * A packet that comes before the guest's interface is up is lost, and TCP sends it again only after a second; a guest
 * under load, on the other hand, takes its time. So another connection is tried beside those that are still on their way,
 * and the first that stands is taken.
 */
async function connected(address: string, signal: AbortSignal): Promise<Socket> {
  signal.throwIfAborted()
  const first = Promise.withResolvers<Socket>()
  const onAbort = () => first.reject(signal.reason as Error)
  signal.addEventListener('abort', onAbort, { once: true })
  const attempts = new Set<Socket>()
  const attempt = () => {
    const [oldest] = attempts
    if (attempts.size === ATTEMPTS_AT_ONCE && oldest !== undefined) drop(oldest)
    const socket = connect({ host: address, port: ports.envd, noDelay: true })
    attempts.add(socket)
    socket.once('connect', () => {
      attempts.delete(socket)
      first.resolve(socket)
    })
    socket.once('error', (error) => {
      lastError = error
      drop(socket)
    })
  }
  const drop = (socket: Socket) => {
    attempts.delete(socket)
    socket.removeAllListeners()
    socket.on('error', () => {}) // what it still says is of no interest
    socket.destroy()
  }
  let lastError: unknown
  let timer: NodeJS.Timeout | undefined
  const next = (waitMs: number) => {
    attempt()
    timer = setTimeout(() => next(Math.min(waitMs * 1.5, NEXT_MS.longest)), waitMs)
  }
  next(NEXT_MS.first)
  try {
    const socket = await first.promise
    socket.removeAllListeners()
    return socket
  } catch (reason) {
    throw new GuestError('no connection to the guest', { cause: lastError ?? reason })
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
    for (const socket of attempts) drop(socket)
  }
}
