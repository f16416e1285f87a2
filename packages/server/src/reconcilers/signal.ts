// Between the verbs, which write orders, and the dispatcher, which sends them: an order just committed is handed over
// without reading it back, and an order that cannot be delivered is told to whoever waits for it.
import type { BusErrorKind } from '@lelantos-ai/contract'
import type { StoredOrder } from '../store/orders.ts'

export class DispatchSignal {
  #send: ((order: StoredOrder) => void) | undefined
  readonly #undeliverable = new Map<string, BusErrorKind>()

  /** The dispatcher of this process takes over. While there is none, committed orders wait in the outbox. */
  attach(send: (order: StoredOrder) => void): Disposable {
    this.#send = send
    return {
      [Symbol.dispose]: () => {
        if (this.#send === send) this.#send = undefined
      },
    }
  }

  /** An order has been committed, its first attempt claimed by this process. */
  written(order: StoredOrder): void {
    this.#send?.(order)
  }

  /** Nobody took this order at its last attempt. */
  failed(operationID: string, kind: BusErrorKind): void {
    this.#undeliverable.set(operationID, kind)
  }

  /** It reached a worker, or is settled. */
  delivered(operationID: string): void {
    this.#undeliverable.delete(operationID)
  }

  isUndeliverable(operationID: string): boolean {
    return this.#undeliverable.has(operationID)
  }
}
