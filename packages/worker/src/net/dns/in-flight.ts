/** Counts what is in flight for each guest, and refuses what is too much. */
export class InFlight {
  readonly #counts = new Map<string, number>()
  readonly #limits: { readonly perGuest: number; readonly total: number }
  #total = 0

  constructor(limits: { readonly perGuest: number; readonly total: number }) {
    this.#limits = limits
  }

  /** False when the guest, or all together, have too much in flight; otherwise `leave` must follow. */
  enter(guest: string): boolean {
    const count = this.#counts.get(guest) ?? 0
    if (count >= this.#limits.perGuest || this.#total >= this.#limits.total) return false
    this.#counts.set(guest, count + 1)
    this.#total++
    return true
  }

  leave(guest: string): void {
    const count = (this.#counts.get(guest) ?? 0) - 1
    if (count > 0) this.#counts.set(guest, count)
    else this.#counts.delete(guest)
    this.#total--
  }
}
