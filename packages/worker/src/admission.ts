// Whether there is room for another machine. Memory is promised, so it is counted by promise: what a machine may use, not
// what it uses. A refusal here is what keeps the host's out-of-memory killer away from sandboxes.
import { OperationFailed } from './failure.ts'

export interface Reservation extends Disposable {
  readonly memoryMB: number
}

export class Admission {
  /** In MB: what may be promised, overcommitment included. */
  readonly totalMB: number
  #reservedMB = 0
  readonly #overheadMB: number

  constructor(memory: { totalMB: number; overcommit: number; overheadMB: number }) {
    this.totalMB = Math.floor(memory.totalMB * memory.overcommit)
    this.#overheadMB = memory.overheadMB
  }

  get reservedMB(): number {
    return this.#reservedMB
  }

  /** Reserves the guest's memory and what a machine costs beyond it. Throws `OperationFailed` `full`. */
  reserve(memoryMB: number): Reservation {
    const need = memoryMB + this.#overheadMB
    const free = this.totalMB - this.#reservedMB
    if (need > free)
      throw new OperationFailed(
        'full',
        `a machine of ${memoryMB} MB needs ${need} MB, and ${free} of ${this.totalMB} are free`,
      )
    return this.#count(need)
  }

  /** Counts a machine that runs already, whether there is room or not. */
  adopt(memoryMB: number): Reservation {
    return this.#count(memoryMB + this.#overheadMB)
  }

  #count(memoryMB: number): Reservation {
    this.#reservedMB += memoryMB
    let held = true
    return {
      memoryMB,
      [Symbol.dispose]: () => {
        if (held) this.#reservedMB -= memoryMB
        held = false
      },
    }
  }
}
