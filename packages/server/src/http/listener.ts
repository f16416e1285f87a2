// One listener for the API and for every sandbox. Which of them a request means is told by its host (`target.ts`).
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { type ErrorCode, envdAccessToken, errors, hasEnded, limits } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'
import { authenticate } from '../keys/keys.ts'
import { routeTo, type SandboxRoute, watchRoutes } from '../sandboxes/route.ts'
import { buildAPI } from './api/app.ts'
import { errorBody } from './api/failures.ts'
import { answers, hasBody, send } from './edge/answers.ts'
import { Edge } from './edge/edge.ts'
import { rememberingLocations } from './edge/last-known.ts'
import type { Location } from './edge/location.ts'
import { Guests } from './guest/guests.ts'
import { targetOf } from './target.ts'

export interface ListenerOptions {
  readonly context: Context
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  /** Of the program, as `/health` tells it. */
  readonly version: string
}

export interface Listener {
  readonly port: number
  /** Takes no more requests, waits a moment for those under way, then cuts them. */
  close(): Promise<void>
}

/** Longer than what clients and load balancers keep an idle connection, so that theirs is never the one to meet a closed one. */
const IDLE_MS = 75_000
const HEADERS_MS = 15_000
const KEEPALIVE_MS = 30_000
const CLOSE_MS = 2000
/** A body on its way to the API may not stand still this long. To sandboxes it may. */
const STALLED_MS = 60_000

/** Listens. Rejects when the port is taken. */
export async function createListener({ context, host, port, version }: ListenerOptions): Promise<Listener> {
  const edge = edgeOf(context)
  const watching = watchRoutes(context, (route) => {
    if (locationOf(route).at !== 'running') edge.connections.cut(route.sandboxID)
  })
  const app = await buildAPI({ context, version, guests: new Guests(context, edge.connections) })
  const server = http.createServer({
    maxHeaderSize: limits.headerBytes,
    headersTimeout: HEADERS_MS,
    // Streams last as long as they last; what bounds a body is who reads it.
    requestTimeout: 0,
    keepAliveTimeout: IDLE_MS,
    keepAlive: true,
    keepAliveInitialDelay: KEEPALIVE_MS,
    // The API speaks plain HTTP/1.1; an offer of HTTP/2 may be left unanswered.
    shouldUpgradeCallback: (request) =>
      targetOf(request.headers, context.domain).kind === 'sandbox' && !/^h2c$/i.test(request.headers.upgrade ?? ''),
  })
  server.maxHeadersCount = 0 // all that fit into `maxHeaderSize`: a header left out could be the one that matters
  const dispatch = (request: IncomingMessage, response: ServerResponse, toAPI: () => void): void => {
    const target = targetOf(request.headers, context.domain)
    if (target.kind === 'sandbox') void edge.request(request, response, target) // never rejects
    else if (target.kind === 'malformed') send(answers.malformed(target.message), request, response)
    else {
      if (hasBody(request)) boundStall(request)
      toAPI()
    }
  }
  server.on('request', (request, response) => dispatch(request, response, () => app.routing(request, response)))
  server.on('checkContinue', (request, response) =>
    dispatch(request, response, () => {
      response.writeContinue()
      app.routing(request, response)
    }),
  )
  server.on('upgrade', (request, socket, head) => {
    const target = targetOf(request.headers, context.domain)
    if (target.kind === 'sandbox') void edge.upgrade(request, socket, head, target) // never rejects
    else socket.destroy()
  })
  server.on('clientError', refuseUnparsed)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      watching[Symbol.dispose]()
      const closed = new Promise((resolve) => server.close(resolve))
      const cut = setTimeout(() => {
        edge.close()
        server.closeAllConnections()
      }, CLOSE_MS)
      await closed
      clearTimeout(cut)
      edge.close()
      await app.close()
    },
  }
}

function boundStall(request: IncomingMessage): void {
  request.setTimeout(STALLED_MS) // without a listener, the connection ends
  request.once('end', () => request.setTimeout(0))
}

function edgeOf(context: Context): Edge {
  return new Edge({
    log: context.log,
    locate: rememberingLocations(async (sandboxID) => locationOf(await routeTo(context, sandboxID))),
    credentials: {
      authenticate: (key) => authenticate(context, key),
      token: (sandboxID) => envdAccessToken(context.installationKey, sandboxID),
    },
  })
}

/** What a route says of where requests go. A paused sandbox is not found, as E2B's clients expect. */
function locationOf(route: SandboxRoute | undefined): Location {
  if (route === undefined || hasEnded(route.state) || route.state === 'paused') return { at: 'absent' }
  if (route.state !== 'running' || route.address === null) return { at: 'moving' }
  return { at: 'running', teamID: route.teamID, address: route.address, machine: route.address }
}

/** Answers what is no request at all. */
function refuseUnparsed(error: Error & { code?: string }, socket: Duplex): void {
  if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy()
  const refusals: Record<string, [ErrorCode, string]> = {
    HPE_HEADER_OVERFLOW: ['headers_too_large', `the headers must be at most ${limits.headerBytes} bytes`],
    ERR_HTTP_REQUEST_TIMEOUT: ['request_timeout', `the headers must arrive within ${HEADERS_MS / 1000} s`],
  }
  const [word, message] = refusals[error.code ?? ''] ?? ['bad_request', 'this is not an HTTP/1.1 request']
  const body = JSON.stringify(errorBody(word, message, ''))
  socket.end(
    `HTTP/1.1 ${errors[word].status} Refused\r\nContent-Type: application/json; charset=utf-8\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  )
}
