// Keys that were found valid within the last second, by their hash. A deletion in this process is seen at once; one by
// another server within a second.
import type { Caller } from '../sandboxes/sandbox.ts'

const FRESH_MS = 1000
const ENTRIES_MAX = 10_000
const USE_NOTED_MS = 60_000

export class KeyCache {
  readonly #callers = new Map<string, { readonly caller: Caller; readonly at: number }>()
  #deletions = 0
  readonly #usedAt = new Map<string, number>()

  get(hash: string, now: number): Caller | undefined {
    const entry = this.#callers.get(hash)
    return entry !== undefined && now - entry.at < FRESH_MS ? entry.caller : undefined
  }

  set(hash: string, caller: Caller, now: number): void {
    if (this.#callers.size >= ENTRIES_MAX) this.#callers.clear()
    this.#callers.set(hash, { caller, at: now })
  }

  /** Counts deletions: what the store said before the last one may be outdated. */
  get deletions(): number {
    return this.#deletions
  }

  drop(keyID: string): void {
    this.#deletions++
    for (const [hash, { caller }] of this.#callers) if (caller.keyID === keyID) this.#callers.delete(hash)
    this.#usedAt.delete(keyID)
  }

  /** Whether this use should be written down: true at most once a minute for each key. */
  shouldNoteUse(keyID: string, now: number): boolean {
    if (now - (this.#usedAt.get(keyID) ?? 0) < USE_NOTED_MS) return false
    if (this.#usedAt.size >= ENTRIES_MAX) this.#usedAt.clear()
    this.#usedAt.set(keyID, now)
    return true
  }
}
