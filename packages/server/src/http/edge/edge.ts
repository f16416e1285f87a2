// The edge proxy: a request for a sandbox's host, to the guest and back.
//
//   target -> is the path public? -> where is the sandbox? -> may it enter? -> credentials off -> forward, pipe
//
// No handler sees a body. An address is asked for anew for each request and each attempt, since it is another sandbox's
// as soon as this one has left it.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { type Log, ports } from '@lelantos-ai/contract'
import type { Target } from '../target.ts'
import { type Credentials, isPublicPath, mayEnter, redactor } from './access.ts'
import { answers, type EdgeAnswer, hasBody, render, send } from './answers.ts'
import { type Connected, Connections } from './connections.ts'
import { type Forwarded, forward, type Upstream } from './forward.ts'
import { towardsGuest } from './headers.ts'
import type { Location } from './location.ts'
import { upgrade } from './upgrade.ts'

export interface EdgeOptions {
  /** Where a sandbox is now. A rejection is answered with 503. */
  readonly locate: (sandboxID: string) => Promise<Location>
  readonly credentials: Credentials
  readonly log: Log
}

type SandboxTarget = Extract<Target, { kind: 'sandbox' }>
type Admitted = { readonly location: Extract<Location, { at: 'running' }>; readonly headers: string[] }
type Failed = Extract<Forwarded, { status: 'failed' }>

/** A connection takes microseconds where the guest is there; a lost packet is repeated by us long before TCP would. */
const CONNECT_MS = [300, 700, 4000]
/** How long after its machine was first seen a guest may still be coming up, in ms, and how often to look. */
const YOUNG_MS = 3000
const YOUNG_RETRY_MS = 50
const SWEEP_MS = 1000

export class Edge {
  readonly #options: EdgeOptions
  readonly #connections = new Connections()
  readonly #sweeper: NodeJS.Timeout
  #sweeping = false

  constructor(options: EdgeOptions) {
    this.#options = options
    this.#sweeper = setInterval(() => void this.#sweep(), SWEEP_MS).unref()
  }

  /** Answers a request, whatever happens. */
  async request(request: IncomingMessage, response: ServerResponse, target: SandboxTarget): Promise<void> {
    response.on('error', () => {}) // the client is gone; its 'close' ends what goes on
    try {
      for (let attempt = 0; ; attempt++) {
        const admitted = await this.#admit(request, target)
        if ('code' in admitted) return send(admitted, request, response)
        if (response.destroyed) return
        const connected = this.#connections.to(target.sandboxID, admitted.location.machine)
        const upstream = upstreamOf(target, admitted, connected, attempt, mayReuse(request, target) && attempt === 0)
        const outcome = await forward(request, response, upstream)
        if (outcome.status === 'done') return
        const pause = retryAfterMs(outcome, attempt, target.port, connected)
        if (pause === undefined) return send(this.#failure(target, outcome.cause), request, response)
        if (pause > 0) await delay(pause)
      }
    } catch (error) {
      this.#options.log.warn({ err: error, sandboxID: target.sandboxID }, 'edge: a request could not be forwarded')
      send(answers.malformed('the request cannot be forwarded'), request, response)
    }
  }

  /** The same for a connection that asks to be upgraded. */
  async upgrade(request: IncomingMessage, client: Duplex, head: Buffer, target: SandboxTarget): Promise<void> {
    client.on('error', () => {})
    try {
      const admitted = await this.#admit(request, target)
      if (client.destroyed) return
      if ('code' in admitted) return refuseUpgrade(admitted, request, client)
      const connected = this.#connections.to(target.sandboxID, admitted.location.machine)
      const upstream = upstreamOf(target, admitted, connected, CONNECT_MS.length - 1, false)
      const outcome = await upgrade(request, client, head, upstream)
      if (outcome.status === 'failed') return refuseUpgrade(this.#failure(target, outcome.cause), request, client)
      if (outcome.status === 'piped') {
        connected.upgraded.add(client)
        client.once('close', () => connected.upgraded.delete(client))
      }
    } catch (error) {
      this.#options.log.warn({ err: error, sandboxID: target.sandboxID }, 'edge: an upgrade could not be forwarded')
      refuseUpgrade(answers.malformed('the request cannot be forwarded'), request, client)
    }
  }

  /** Connections to sandboxes, for the bounded clients of the API (`exec`, `files`). */
  get connections(): Connections {
    return this.#connections
  }

  /** Cuts every connection to guests. */
  close(): void {
    clearInterval(this.#sweeper)
    this.#connections.close()
  }

  async #admit(request: IncomingMessage, target: SandboxTarget): Promise<Admitted | EdgeAnswer> {
    const { locate, credentials, log } = this.#options
    const inVM = target.port === ports.envd
    if (inVM && !isPublicPath(request.url ?? '')) return answers.internal()
    try {
      const location = await locate(target.sandboxID)
      if (location.at === 'absent') return answers.absent(target.sandboxID)
      if (location.at === 'moving') return answers.moving(target.sandboxID)
      const sandbox = { sandboxID: target.sandboxID, teamID: location.teamID }
      if (inVM && !(await mayEnter(request, sandbox, credentials))) return answers.unauthorized()
      const headers = towardsGuest(request, await redactor(request, inVM, credentials))
      if (inVM) headers.push('X-Access-Token', credentials.token(target.sandboxID))
      return { location, headers }
    } catch (error) {
      log.warn({ err: error, sandboxID: target.sandboxID }, 'edge: the sandbox could not be looked up')
      return answers.unavailable(target.sandboxID)
    }
  }

  #failure(target: SandboxTarget, cause: NodeJS.ErrnoException): EdgeAnswer {
    const { sandboxID, port } = target
    if (cause.code === 'ECONNREFUSED') return answers.closed(sandboxID, port)
    this.#options.log.info({ err: cause, sandboxID, port }, 'edge: the sandbox did not answer')
    return answers.silent(sandboxID, port)
  }

  /** Streams to a machine that is no longer the sandbox's would wait for ever: they are cut here. */
  async #sweep(): Promise<void> {
    if (this.#sweeping) return
    this.#sweeping = true
    try {
      for (const { sandboxID, machine } of this.#connections.busy()) {
        const location = await this.#options.locate(sandboxID)
        const gone = location.at === 'absent' || (location.at === 'running' && location.machine !== machine)
        if (gone) this.#connections.cut(sandboxID)
      }
    } catch {
      // Where sandboxes are cannot be looked up: traffic goes on as it is.
    } finally {
      this.#sweeping = false
    }
  }
}

function upstreamOf(
  target: SandboxTarget,
  admitted: Admitted,
  connected: Connected,
  attempt: number,
  reuse: boolean,
): Upstream {
  return {
    address: admitted.location.address,
    port: target.port,
    agent: reuse ? connected.kept : connected.fresh,
    headers: admitted.headers,
    connectMs: CONNECT_MS[Math.min(attempt, CONNECT_MS.length - 1)] as number,
  }
}

/**
 * A connection kept alive may be closing at its other end: only what can be repeated goes over one. The guest daemon
 * never closes an idle connection.
 */
function mayReuse(request: IncomingMessage, target: SandboxTarget): boolean {
  return target.port === ports.envd || (!hasBody(request) && /^(GET|HEAD|OPTIONS)$/.test(request.method ?? ''))
}

/** In how many ms to try again; undefined for not at all. */
function retryAfterMs(outcome: Failed, attempt: number, port: number, connected: Connected): number | undefined {
  if (!outcome.repeatable) return undefined
  if (outcome.reused) return 0
  const { code } = outcome.cause
  if (code === 'ETIMEDOUT') return attempt + 1 < CONNECT_MS.length ? 0 : undefined
  const young = performance.now() - connected.since < YOUNG_MS && attempt * YOUNG_RETRY_MS < YOUNG_MS
  if (!young) return undefined
  const comingUp = code === 'EHOSTUNREACH' || code === 'ENETUNREACH' || (code === 'ECONNREFUSED' && port === ports.envd)
  return comingUp ? YOUNG_RETRY_MS : undefined
}

function refuseUpgrade(answer: EdgeAnswer, request: IncomingMessage, client: Duplex): void {
  if (client.destroyed) return
  const { type, body } = render(answer, request)
  client.end(
    `HTTP/1.1 ${answer.code} ${answer.code === 404 ? 'Not Found' : 'Refused'}\r\nContent-Type: ${type}\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  )
}
