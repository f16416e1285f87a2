// The bus over NATS core. Nothing here is durable: what must arrive is repeated by its sender. Replies travel in an
// envelope, `{ value }` or `{ error }`, so that a receiver's failure is told from a lost message.
import {
  connect,
  type Msg,
  type NatsConnection,
  NoRespondersError,
  RequestError,
  TimeoutError,
} from '@nats-io/transport-node'
import { type Bus, BusError, type Log, type Subscription } from '@lelantos-ai/contract'

export interface NATSOptions {
  /** `nats://host:port`; a shared server's may hold a token or a user. */
  readonly url: string
  readonly token?: string | undefined
  /** Seen by the server's operator. */
  readonly name: string
  readonly log: Log
}

export interface NATSBus extends Bus, AsyncDisposable {
  /** Whether messages pass right now; when false, requests fail at once with kind `away`. */
  readonly connected: boolean
}

const CONNECT_MS = 5000
/** A server that is there again is found after this long, on average half of it. */
const RECONNECT_MS = 100
/** A peer that has vanished without a word (power cut, dropped route) is noticed after two of these. */
const PING_MS = 5000

/** Connects once, or rejects; from then on it reconnects for ever. */
export async function connectNATS(options: NATSOptions): Promise<NATSBus> {
  const connection = await connect({
    servers: options.url,
    ...(options.token === undefined ? {} : { token: options.token }),
    name: options.name,
    timeout: CONNECT_MS,
    maxReconnectAttempts: -1,
    reconnectTimeWait: RECONNECT_MS,
    reconnectJitter: RECONNECT_MS / 2,
    pingInterval: PING_MS,
    maxPingOut: 2,
    ignoreAuthErrorAbort: true, // a server whose token is for a moment another one must not end the connection for good
  })
  return new ConnectedBus(connection, options.log)
}

class ConnectedBus implements NATSBus {
  readonly #connection: NatsConnection
  readonly #log: Log
  /** Rejects when the connection is lost; replaced when it is back. */
  #lost: PromiseWithResolvers<never>
  connected = true

  constructor(connection: NatsConnection, log: Log) {
    this.#connection = connection
    this.#log = log
    this.#lost = unhandled()
    void this.#follow() // ends with the connection; it never throws
  }

  async request(subject: string, message: unknown, options: { timeoutMs: number }): Promise<unknown> {
    if (!this.connected) throw away(subject)
    let reply: Msg
    try {
      const answer = this.#connection.request(subject, encode(message), { timeout: options.timeoutMs })
      reply = await Promise.race([answer, this.#lost.promise])
    } catch (cause) {
      throw asBusError(cause, subject, options.timeoutMs)
    }
    const envelope = decode(reply.data) as { value?: unknown; error?: string } | undefined
    if (envelope?.error !== undefined)
      throw new BusError('failed', `the receiver of ${subject} failed: ${envelope.error}`)
    return envelope?.value
  }

  async reply(subject: string, answer: (message: unknown) => Promise<unknown>): Promise<Subscription> {
    const respond = async (message: Msg) => {
      let envelope: { value?: unknown; error?: string }
      try {
        envelope = { value: await answer(decode(message.data)) }
      } catch (err) {
        this.#log.error({ err, subject }, 'a message could not be answered')
        envelope = { error: err instanceof Error ? err.message : String(err) }
      }
      if (this.connected) message.respond(encode(envelope))
    }
    return this.#subscribe(subject, (message) => {
      respond(message).catch((err: unknown) => this.#log.error({ err, subject }, 'a reply could not be sent'))
    })
  }

  publish(subject: string, message: unknown): void {
    // The client would keep it and send it late; what is old news by then is better not sent.
    if (!this.connected) return
    try {
      this.#connection.publish(subject, encode(message))
    } catch (err) {
      this.#log.warn({ err, subject }, 'a message could not be published')
    }
  }

  async watch(subject: string, see: (message: unknown) => void): Promise<Subscription> {
    return this.#subscribe(subject, (message) => {
      try {
        see(decode(message.data))
      } catch (err) {
        this.#log.error({ err, subject }, 'a message could not be taken')
      }
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#setAway()
    await this.#connection.close()
  }

  async #subscribe(subject: string, take: (message: Msg) => void): Promise<Subscription> {
    const subscription = this.#connection.subscribe(subject, {
      callback: (err, message) => {
        if (err) this.#log.error({ err, subject }, 'a subscription failed')
        else take(message)
      },
    })
    // Once the server has seen the subscription, a message sent by anyone from now on arrives.
    if (this.connected) await Promise.race([this.#connection.flush(), this.#lost.promise]).catch(() => {})
    return {
      [Symbol.asyncDispose]: async () => {
        subscription.unsubscribe()
        if (this.connected) await Promise.race([this.#connection.flush(), this.#lost.promise]).catch(() => {})
      },
    }
  }

  async #follow(): Promise<void> {
    for await (const status of this.#connection.status()) {
      if (status.type === 'disconnect') {
        this.#log.warn({}, 'the bus is away')
        this.#setAway()
      } else if (status.type === 'reconnect') {
        this.#log.info({}, 'the bus is back')
        this.#lost = unhandled()
        this.connected = true
      } else if (status.type === 'error') this.#log.error({ err: status.error }, 'the bus reports an error')
    }
    this.#setAway()
  }

  #setAway(): void {
    this.connected = false
    this.#lost.reject(new BusError('away', 'the connection to the bus was lost'))
  }
}

function unhandled(): PromiseWithResolvers<never> {
  const lost = Promise.withResolvers<never>()
  lost.promise.catch(() => {}) // nobody may be waiting when it is lost
  return lost
}

function away(subject: string): BusError {
  return new BusError('away', `the bus is away: ${subject} was not sent`)
}

function asBusError(cause: unknown, subject: string, timeoutMs: number): BusError {
  if (cause instanceof BusError) return new BusError(cause.kind, `${subject}: ${cause.message}`, { cause })
  const nobody =
    cause instanceof NoRespondersError ||
    (cause instanceof RequestError && (cause.isNoResponders() || cause.cause instanceof NoRespondersError))
  if (nobody) return new BusError('nobody', `nobody answers ${subject}`, { cause })
  const late = cause instanceof TimeoutError || (cause instanceof RequestError && cause.cause instanceof TimeoutError)
  if (late) return new BusError('timeout', `no reply on ${subject} in ${timeoutMs} ms`, { cause })
  return new BusError('away', `${subject} could not be sent`, { cause })
}

function encode(message: unknown): string {
  return message === undefined ? '' : JSON.stringify(message)
}

function decode(data: Uint8Array): unknown {
  return data.length === 0 ? undefined : JSON.parse(Buffer.from(data).toString('utf8'))
}
