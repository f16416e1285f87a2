// Sends orders until they are settled. An order arrives here at once when a move of this process has written it; one whose
// server died, or that found no dispatcher, is taken from the outbox when its lease has ended.
//
//   written ----> send ----> outcome ----> settle
//                  ^  |
//                  |  +----> working, no reply, nobody there: wait (100 ms, doubling up to 2 s), take the lease again
//                  +---------+
import { BusError, limits, type Order, OrderReply, type OrderReply as Reply, subjects } from '@lelantos-ai/contract'
import { Compile } from 'typebox/compile'
import type { Context } from '../context.ts'
import { settle } from '../sandboxes/settle.ts'
import { isStoreAway } from '../store/away.ts'
import { claimAgain, claimOrders, type StoredOrder } from '../store/orders.ts'
import type { Reconciler } from './loop.ts'

const schema = Compile(OrderReply)
const FIRST_PAUSE_MS = 100
const PAUSE_MAX_MS = 2000
/** Orders taken from the outbox at a time. */
const TAKEN = 50

export interface DispatchOptions {
  /** How long one attempt waits for its reply. */
  readonly requestMs?: number
}

export class Dispatcher implements Reconciler, AsyncDisposable {
  readonly name = 'dispatch'
  readonly everyMs = 500
  readonly #context: Context
  readonly #requestMs: number
  readonly #stopping = new AbortController()
  /** By operation: an order is sent by one loop at a time. */
  readonly #sending = new Map<string, Promise<void>>()
  readonly #attached: Disposable

  constructor(context: Context, options: DispatchOptions = {}) {
    this.#context = context
    this.#requestMs = options.requestMs ?? limits.busRequestMs
    this.#attached = context.dispatch.attach((order) => this.#send(order))
  }

  /** Takes what nobody is sending. */
  async run(): Promise<number | void> {
    const orders = await claimOrders(this.#context.store, this.#context.clock(), TAKEN)
    for (const order of orders) this.#send(order)
    return orders.length === TAKEN ? 0 : undefined
  }

  /** Ends the sending; what is not settled stays in the outbox. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#attached[Symbol.dispose]()
    this.#stopping.abort()
    await Promise.allSettled(this.#sending.values())
  }

  #send(order: StoredOrder): void {
    if (this.#stopping.signal.aborted || this.#sending.has(order.operationID)) return
    const sending = this.#sendUntilSettled(order).finally(() => {
      this.#sending.delete(order.operationID)
      this.#context.dispatch.delivered(order.operationID)
    })
    this.#sending.set(order.operationID, sending)
  }

  async #sendUntilSettled(first: StoredOrder): Promise<void> {
    const { log, store, clock } = this.#context
    const { signal } = this.#stopping
    const { operationID, sandboxID, verb } = first
    try {
      for (let order: StoredOrder | undefined = first, n = 0; order !== undefined; n++) {
        const reply = await this.#ask(order)
        if (reply.status !== 'working' && (await settle(this.#context, order, reply)) === 'settled') return
        await pause(Math.min(PAUSE_MAX_MS, FIRST_PAUSE_MS * 2 ** n), signal)
        if (signal.aborted) return
        order = await claimAgain(store, operationID, clock())
      }
    } catch (err) {
      // The lease ends, and the order is taken again.
      const level = isStoreAway(err) ? 'warn' : 'error'
      log[level]({ err, operationID, sandboxID, verb }, 'an order could not be settled')
    }
  }

  /** One attempt. Whatever keeps the reply away is `working`: only a reply settles an order. */
  async #ask(order: StoredOrder): Promise<Reply> {
    const { bus, dispatch, installation, log } = this.#context
    const { operationID, sandboxID, generation, verb, args, workerID } = order
    const message = { operationID, sandboxID, generation, verb, args } as Order
    try {
      const reply = await this.#unlessStopped(
        bus.request(subjects.order(installation, workerID), message, { timeoutMs: this.#requestMs }),
      )
      dispatch.delivered(operationID)
      if (reply === undefined) return { status: 'working' }
      if (schema.Check(reply)) return reply
      log.warn({ operationID, workerID, errors: [...schema.Errors(reply)].slice(0, 3) }, 'a reply to an order is none')
    } catch (err) {
      if (!(err instanceof BusError)) throw err
      log.debug({ err, operationID, sandboxID, workerID, verb, attempts: order.attempts }, 'an order got no reply')
      if (err.kind === 'nobody' || err.kind === 'away') dispatch.failed(operationID, err.kind)
      // Nobody listened to the first attempt, so nobody can have begun: another worker may have it.
      if (err.kind === 'nobody' && verb === 'create' && order.attempts === 1)
        return { status: 'failed', code: 'full', message: `worker ${workerID} does not listen` }
    }
    return { status: 'working' }
  }

  async #unlessStopped(reply: Promise<unknown>): Promise<unknown> {
    const { signal } = this.#stopping
    const { promise, resolve } = Promise.withResolvers<undefined>()
    const stop = () => resolve(undefined)
    signal.addEventListener('abort', stop, { once: true })
    try {
      return await Promise.race([reply, promise])
    } finally {
      signal.removeEventListener('abort', stop)
      reply.catch(() => {}) // of a reply that comes after the stop, nobody waits for the failure
    }
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const wake = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', wake)
      resolve()
    }
    const timer = setTimeout(wake, ms)
    signal.addEventListener('abort', wake, { once: true })
    if (signal.aborted) wake()
  })
}
