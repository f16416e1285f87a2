/** So many at a time, first come, first served; who waits can give up. */
export class Turns {
  #free: number
  readonly #waiting = new Set<() => void>()

  constructor(width: number) {
    this.#free = width
  }

  /** Resolves when it is the caller's turn, which lasts until it is disposed of. Rejects with the signal's reason. */
  async take(signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted()
    if (this.#free > 0) this.#free--
    else await this.#wait(signal)
    let over = false
    return {
      [Symbol.dispose]: () => {
        if (!over) this.#next()
        over = true
      },
    }
  }

  #wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiting.delete(go)
        reject(signal.reason as Error)
      }
      const go = () => {
        signal.removeEventListener('abort', onAbort)
        resolve()
      }
      this.#waiting.add(go)
      signal.addEventListener('abort', onAbort, { once: true })
    })
  }

  /** The turn passes to the one who has waited longest, else it is free. */
  #next(): void {
    const [go] = this.#waiting
    if (go === undefined) {
      this.#free++
      return
    }
    this.#waiting.delete(go)
    go()
  }
}
