// One request to a guest and its response back. Heads are parsed, bodies are piped with back-pressure, in both directions
// at once and for as long as they last: what bounds a dead peer is TCP keep-alive, never a timer on the stream.
//
// Nothing of a body is read before the guest's port has accepted, so an attempt that fails to connect can be repeated.
import http, { type ClientRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { hasBody } from './answers.ts'
import { towardsClient } from './headers.ts'

export interface Upstream {
  readonly address: string
  readonly port: number
  readonly agent: http.Agent
  readonly headers: string[]
  /** How long the connection may take to be there, in ms. */
  readonly connectMs: number
}

export type Forwarded =
  /** The response was sent to its end, or the client's connection was cut because it could not be. */
  | { readonly status: 'done' }
  /** Nothing of a response was written. `repeatable`: nor was anything of the request's body read. */
  | {
      readonly status: 'failed'
      readonly cause: NodeJS.ErrnoException
      readonly repeatable: boolean
      /** The connection was one kept alive, which the guest may have been closing. */
      readonly reused: boolean
    }

const KEEPALIVE_MS = 30_000
/** Writing it sends a head that waits. `flushHeaders` would too, but encodes Latin-1 a second time. */
const NOTHING = Buffer.alloc(0)

/** Never rejects. A failure in the middle of a response cuts the client's connection: it must not take the part for the whole. */
export function forward(request: IncomingMessage, response: ServerResponse, upstream: Upstream): Promise<Forwarded> {
  return new Promise((resolve) => {
    const out = openRequest(request, upstream)
    const body = hasBody(request)
    let bodyRead = false
    let replied = false
    const abort = (): void => {
      if (!response.writableFinished) out.destroy()
    }
    response.once('close', abort)
    const settle = (forwarded: Forwarded): void => {
      response.off('close', abort)
      resolve(forwarded)
    }
    const fail = (cause: NodeJS.ErrnoException): void => {
      if (response.destroyed) settle({ status: 'done' })
      else settle({ status: 'failed', cause, repeatable: !bodyRead, reused: out.reusedSocket })
    }

    out.on('socket', (socket) => {
      whenConnected(socket, out, upstream.connectMs, () => {
        if (!body || response.destroyed) return
        bodyRead = true
        pipeBody(request, out)
      })
    })
    if (!body) out.end()
    out.on('continue', () => response.writeContinue())
    // Nobody asked for another protocol; without a listener Node would drop the connection and say nothing.
    out.on('upgrade', (_reply, socket) => {
      bodyRead = true // whatever it was that the guest did, it is not done again
      socket.destroy()
      fail(new Error('the guest answered 101 to a request that asked for no upgrade'))
    })
    // After the head of a response, what becomes of it is told by the response alone: a guest may answer and close before
    // it has read the whole of a body.
    out.on('error', (cause) => (replied ? undefined : fail(cause)))
    out.on('response', (reply) => {
      replied = true
      reply.on('error', () => {}) // followed by 'close', with `complete` false
      reply.once('close', () => {
        if (!reply.complete) response.destroy()
        settle({ status: 'done' })
      })
      try {
        pipeResponse(reply, response)
      } catch (error) {
        out.destroy()
        bodyRead = true
        fail(error as Error) // a status or header that HTTP does not allow
      }
    })
  })
}

/** Begins the request, framed as the client framed it. Throws what is no path or header of HTTP. */
export function openRequest(
  request: IncomingMessage,
  upstream: Upstream,
  extra: readonly string[] = [],
): ClientRequest {
  const headers = [...upstream.headers, ...extra]
  if (request.headers['transfer-encoding'] !== undefined) headers.push('Transfer-Encoding', 'chunked')
  else if (request.headers['content-length'] === undefined && /^(POST|PUT|PATCH)$/.test(request.method ?? ''))
    headers.push('Content-Length', '0')
  return http.request({
    host: upstream.address,
    port: upstream.port,
    method: request.method,
    path: request.url,
    agent: upstream.agent,
    headers,
  })
}

/** Calls when the socket is connected, and ends the request when that takes too long. */
export function whenConnected(socket: Socket, out: ClientRequest, connectMs: number, then: () => void): void {
  if (!socket.connecting) return then()
  const timer = setTimeout(() => {
    out.destroy(Object.assign(new Error(`no connection in ${connectMs} ms`), { code: 'ETIMEDOUT' }))
  }, connectMs)
  socket.once('close', () => clearTimeout(timer))
  socket.once('connect', () => {
    clearTimeout(timer)
    socket.setKeepAlive(true, KEEPALIVE_MS)
    then()
  })
}

function pipeBody(request: IncomingMessage, out: ClientRequest): void {
  request.once('end', () => {
    const trailers = pairs(request.rawTrailers)
    if (trailers.length > 0) out.addTrailers(trailers)
  })
  // A client that goes away in the middle of its body never ends it: the guest must not take the part for the whole.
  request.once('close', () => {
    if (!request.complete) out.destroy()
  })
  request.pipe(out)
  // A head whose body is slow goes ahead of it; otherwise both leave in one packet.
  setImmediate(() => {
    if (!out.destroyed && !out.writableEnded) out.write(NOTHING)
  })
}

function pipeResponse(reply: IncomingMessage, response: ServerResponse): void {
  response.writeHead(reply.statusCode ?? 502, reply.statusMessage ?? '', towardsClient(reply))
  reply.once('end', () => {
    const trailers = pairs(reply.rawTrailers)
    if (trailers.length > 0) response.addTrailers(trailers)
  })
  reply.pipe(response)
  setImmediate(() => {
    if (!response.destroyed && !response.writableEnded) response.write(NOTHING)
  })
}

function pairs(raw: readonly string[]): [string, string][] {
  return Array.from({ length: raw.length / 2 }, (_, n) => [raw[2 * n] as string, raw[2 * n + 1] as string])
}
