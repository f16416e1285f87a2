import type { Suspension } from './roles/messages.ts'

/** When to go down, and how: by Ctrl-C, by a signal, or by `down`. A second Ctrl-C leaves the machines running. */
export class StopSignal {
  readonly #controller = new AbortController()
  readonly #wanted = Promise.withResolvers<{ mode: Suspension; progress: (text: string) => void }>()
  readonly #finished = Promise.withResolvers<number>()
  #signals = 0

  constructor() {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        this.#signals++
        if (this.#signals === 1) this.#request('pause', () => {})
      })
    }
  }

  get aborted(): AbortSignal {
    return this.#controller.signal
  }

  get requested(): boolean {
    return this.#controller.signal.aborted
  }

  get hurried(): boolean {
    return this.#signals > 1
  }

  get wanted(): Promise<{ mode: Suspension; progress: (text: string) => void }> {
    return this.#wanted.promise
  }

  /** Resolves when everything has stopped, with how many sandboxes could not be suspended. */
  async by(mode: Suspension, progress: (text: string) => void): Promise<number> {
    this.#request(mode, progress)
    return this.#finished.promise
  }

  finished(failed: number): void {
    this.#finished.resolve(failed)
  }

  #request(mode: Suspension, progress: (text: string) => void): void {
    this.#wanted.resolve({ mode, progress })
    this.#controller.abort(new Error('interrupted'))
  }
}
