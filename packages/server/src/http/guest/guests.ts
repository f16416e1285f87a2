// What the API itself asks of a guest daemon, for its two bounded adapters `/exec` and `/files`, and `/metrics`. A guest
// is never trusted: what it says is bounded in size and time and checked in shape before it becomes an answer of ours.
import http, { type ClientRequest, type IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import { envdAccessToken, hasEnded, ports, publicState, Refused } from '@lelantos-ai/contract'
import type { Context } from '../../context.ts'
import { routeTo } from '../../sandboxes/route.ts'
import type { Caller } from '../../sandboxes/sandbox.ts'
import type { Connections } from '../edge/connections.ts'
import { whenConnected } from '../edge/forward.ts'

export interface GuestRequest {
  readonly method: 'GET' | 'POST'
  /** With its query. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Readable
  /** Ends the request. */
  readonly signal: AbortSignal
  /** How long the head of the answer may take once the request is sent, in ms. */
  readonly answerMs: number
}

const CONNECT_MS = 4000
/** What a guest says of an error is at most this long: it may quote a path, as JSON. */
const ERROR_BYTES = 65_536

export class Guests {
  readonly #context: Context
  readonly #connections: Connections

  constructor(context: Context, connections: Connections) {
    this.#context = context
    this.#connections = connections
  }

  /**
   * Sends a request to the daemon in a sandbox of the caller's team; resolves with its response, to be read by the caller.
   * Refuses: sandbox_not_found, sandbox_not_running, sandbox_unreachable, operation_timeout.
   */
  async open(caller: Caller, sandboxID: string, request: GuestRequest): Promise<IncomingMessage> {
    const address = await this.#addressOf(caller, sandboxID)
    const { kept } = this.#connections.to(sandboxID, address)
    return new Promise((resolve, reject) => {
      const out = http.request({
        host: address,
        port: ports.envd,
        method: request.method,
        path: request.path,
        agent: kept,
        signal: request.signal,
        headers: {
          host: `${ports.envd}-${sandboxID}.${this.#context.domain}`,
          'x-access-token': envdAccessToken(this.#context.installationKey, sandboxID),
          ...request.headers,
        },
      })
      out.on('socket', (socket) => whenConnected(socket, out, CONNECT_MS, () => {}))
      boundAnswer(out, request.answerMs)
      out.on('response', resolve)
      // Nobody asked for another protocol; without a listener Node would drop the connection and say nothing.
      out.on('upgrade', (_reply, socket) => {
        socket.destroy()
        reject(new Refused('sandbox_unreachable', 'the sandbox answered in another protocol'))
      })
      out.on('error', (cause) => reject(unreachable(request.signal, cause)))
      if (request.body === undefined || typeof request.body === 'string') out.end(request.body)
      else pipeInto(out, request.body)
    })
  }

  async #addressOf(caller: Caller, sandboxID: string): Promise<string> {
    const route = await routeTo(this.#context, sandboxID, caller.teamID)
    if (route === undefined || hasEnded(route.state))
      throw new Refused('sandbox_not_found', `your team has no live sandbox ${sandboxID.slice(0, 64)}`)
    if (route.state !== 'running' || route.address === null)
      throw new Refused(
        'sandbox_not_running',
        `sandbox ${sandboxID} is ${publicState[route.state]}, not ready for commands`,
      )
    return route.address
  }
}

function pipeInto(out: ClientRequest, body: Readable): void {
  // What ended before its end must not be taken for the whole.
  const cut = (): void => {
    if (!body.readableEnded) out.destroy(body.errored ?? undefined)
  }
  if (body.destroyed) return cut()
  body.on('error', (error) => out.destroy(error))
  body.on('close', cut)
  body.pipe(out)
}

/** From when the request is sent: a guest that takes it and never answers must not hold who asked for ever. */
function boundAnswer(out: ClientRequest, answerMs: number): void {
  out.once('finish', () => {
    const late = new Refused('operation_timeout', `the sandbox did not answer within ${answerMs} ms`)
    const timer = setTimeout(() => out.destroy(late), answerMs)
    for (const over of ['response', 'close']) out.once(over, () => clearTimeout(timer))
  })
}

/** A signal aborted with a refusal speaks for itself. */
function unreachable(signal: AbortSignal, cause: Error): Refused {
  if (signal.aborted && signal.reason instanceof Refused) return signal.reason
  if (cause instanceof Refused) return cause
  const refused = new Refused('sandbox_unreachable', 'the sandbox did not answer')
  refused.cause = cause
  return refused
}

/** The whole of a response, as text. Refuses `sandbox_unreachable` when it is longer than `maxBytes` or breaks off. */
export async function readReply(reply: IncomingMessage, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of reply as AsyncIterable<Buffer>) {
      length += chunk.length
      if (length > maxBytes)
        throw new Refused('sandbox_unreachable', `the sandbox answered more than ${maxBytes} bytes`)
      chunks.push(chunk)
    }
  } catch (cause) {
    if (cause instanceof Refused) throw cause
    const refused = new Refused('sandbox_unreachable', 'the answer of the sandbox broke off')
    refused.cause = cause
    throw refused
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** What the daemon says of an error: its `message`, for the person who sent the request, shortened. */
export async function readProblem(reply: IncomingMessage): Promise<string> {
  const text = await readReply(reply, ERROR_BYTES)
  try {
    const { message } = JSON.parse(text) as { message?: unknown }
    if (typeof message === 'string') return message.slice(0, 500)
  } catch {
    // Not JSON: then it was not the daemon that answered.
  }
  return `the sandbox answered ${reply.statusCode}`
}
