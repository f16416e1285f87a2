// The in-process twin of the bus, for unit tests and for a server and worker in one process. Messages are copied as JSON,
// as a real bus would. It passes the same suite as the NATS adapter (`tests/bus/bus.test.ts`).
import { type Bus, BusError, type Subscription } from './bus.ts'

/** What a test can do to messages: each request or publication is delivered `copies` times, each after `delayMs`. */
export interface Disturbance {
  /** 0 drops the message: a request then has no reply until it times out. */
  copies(subject: string): number
  delayMs(subject: string): number
  /** Whether a reply gets lost, although the request has arrived and was acted upon. */
  losesReply?(subject: string): boolean
}

export class MemoryBus implements Bus {
  readonly #answers = new Map<string, (message: unknown) => Promise<unknown>>()
  readonly #watchers = new Map<string, Set<(message: unknown) => void>>()
  #disturbance: Disturbance | undefined

  disturb(disturbance: Disturbance | undefined): void {
    this.#disturbance = disturbance
  }

  async request(subject: string, message: unknown, options: { timeoutMs: number }): Promise<unknown> {
    const answer = this.#answers.get(subject)
    if (answer === undefined) throw new BusError('nobody', `nobody answers ${subject}`)
    const copies = this.#disturbance?.copies(subject) ?? 1
    const deliveries = Array.from({ length: copies }, async () => {
      const delay = this.#disturbance?.delayMs(subject) ?? 0
      if (delay > 0) await new Promise((resolve) => setTimeout(resolve, delay))
      const reply = copy(await answer(copy(message)))
      return this.#disturbance?.losesReply?.(subject) === true ? new Promise<never>(() => {}) : reply
    })
    let timer: NodeJS.Timeout | undefined
    const timeout = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new BusError('timeout', `no reply on ${subject} in ${options.timeoutMs} ms`)),
        options.timeoutMs,
      )
    })
    try {
      return await Promise.race([timeout, ...deliveries])
    } catch (cause) {
      throw cause instanceof BusError ? cause : new BusError('failed', `the receiver of ${subject} failed`, { cause })
    } finally {
      clearTimeout(timer)
      void Promise.allSettled(deliveries) // copies that lose the race fail on their own account
    }
  }

  async reply(subject: string, answer: (message: unknown) => Promise<unknown>): Promise<Subscription> {
    this.#answers.set(subject, answer)
    return { [Symbol.asyncDispose]: async () => void this.#answers.delete(subject) }
  }

  publish(subject: string, message: unknown): void {
    const copies = this.#disturbance?.copies(subject) ?? 1
    for (const see of this.#watchers.get(subject) ?? []) {
      for (let n = 0; n < copies; n++) setTimeout(() => see(copy(message)), this.#disturbance?.delayMs(subject) ?? 0)
    }
  }

  async watch(subject: string, see: (message: unknown) => void): Promise<Subscription> {
    const watchers = this.#watchers.get(subject) ?? new Set()
    this.#watchers.set(subject, watchers.add(see))
    return { [Symbol.asyncDispose]: async () => void watchers.delete(see) }
  }
}

function copy(message: unknown): unknown {
  return message === undefined ? undefined : JSON.parse(JSON.stringify(message))
}
