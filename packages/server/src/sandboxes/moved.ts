// Tells this process of the moves it makes. Who waits for a sandbox waits here and looks at the store now and then, since
// another server may be the one that settles it.
import type { Sandbox } from './sandbox.ts'

export type MovedListener = (sandbox: Sandbox) => void

export class Moved {
  readonly #everyone = new Set<MovedListener>()
  readonly #bySandbox = new Map<string, Set<MovedListener>>()

  /** A move has been committed: `sandbox` is the row after it. */
  tell(sandbox: Sandbox): void {
    for (const see of this.#everyone) see(sandbox)
    for (const see of this.#bySandbox.get(sandbox.sandboxID) ?? []) see(sandbox)
  }

  watch(see: MovedListener): Disposable {
    this.#everyone.add(see)
    return { [Symbol.dispose]: () => void this.#everyone.delete(see) }
  }

  watchSandbox(sandboxID: string, see: MovedListener): Disposable {
    const listeners = this.#bySandbox.get(sandboxID) ?? new Set()
    this.#bySandbox.set(sandboxID, listeners.add(see))
    return {
      [Symbol.dispose]: () => {
        listeners.delete(see)
        if (listeners.size === 0 && this.#bySandbox.get(sandboxID) === listeners) this.#bySandbox.delete(sandboxID)
      },
    }
  }
}
