// Routes in memory. Moves of this process write through; what others may have changed is believed for a second.
import type { SandboxRoute } from './route.ts'

const FRESH_MS = 1000
const ENTRIES_MAX = 20_000

interface Entry {
  /** `undefined`: there is no such sandbox. */
  readonly route: SandboxRoute | undefined
  readonly at: number
}

export class RouteCache {
  readonly #entries = new Map<string, Entry>()
  /** Counts the moves told, so that an answer read before one of them is not kept. */
  #told = 0
  readonly #toldAt = new Map<string, number>()

  get(sandboxID: string, now: number): Entry | undefined {
    const entry = this.#entries.get(sandboxID)
    return entry !== undefined && now - entry.at < FRESH_MS ? entry : undefined
  }

  /** Before the store is asked. */
  ask(sandboxID: string): number {
    return this.#toldAt.get(sandboxID) ?? 0
  }

  /** What the store said. Gives back what is to be believed: this, or a move told since `asked`. */
  answer(sandboxID: string, asked: number, route: SandboxRoute | undefined, now: number): SandboxRoute | undefined {
    const told = this.#toldAt.get(sandboxID) ?? 0
    const known = this.#entries.get(sandboxID)
    if (told !== asked && known !== undefined) return known.route
    this.#keep(sandboxID, { route, at: now })
    return route
  }

  /** A move of this process has been committed. */
  tell(route: SandboxRoute, now: number): void {
    if (this.#toldAt.size >= ENTRIES_MAX) this.#toldAt.clear()
    this.#toldAt.set(route.sandboxID, ++this.#told)
    this.#keep(route.sandboxID, { route, at: now })
  }

  #keep(sandboxID: string, entry: Entry): void {
    if (this.#entries.size >= ENTRIES_MAX) this.#entries.clear()
    this.#entries.set(sandboxID, entry)
  }
}
