// Slots are kept prepared, so that a create does not wait for one. A slot that is given back is deleted and made anew,
// since nothing else is certain to hold nothing of its last guest. Indexes are used in turn.
//
//   free --prepare--> idle --acquire--> used --release--> (deleted) --> free
import type { Log } from '@lelantos-ai/contract'
import { command } from '../host/command.ts'
import { relayAddress, slotLayout, type Network } from './addresses.ts'
import { deleteSlots, existingSlots } from './existing.ts'
import { createSlotScript, TAP } from './slot-script.ts'
import type { Slot, Slots } from './slot.ts'

export interface PoolOptions {
  readonly installation: string
  readonly subnet: Network
  readonly uidBase: number
  readonly size: number
  readonly idle: number
  readonly inUse: ReadonlySet<number>
  readonly log: Log
}

const PREPARE_MS = 30_000
/** Slots prepared at the same time in the background: each is one busy core for some 10 ms. */
const PREPARING_MAX = 2

export class SlotPool implements Slots {
  readonly #options: PoolOptions
  readonly #free: number[]
  readonly #idle: Slot[] = []
  readonly #used: Set<number>
  readonly #background = new Set<Promise<void>>()
  #closed = false

  constructor(options: PoolOptions) {
    this.#options = options
    this.#used = new Set(options.inUse)
    this.#free = Array.from({ length: options.size }, (_, index) => index).filter((index) => !this.#used.has(index))
  }

  /** How many are in somebody's hands. */
  get used(): number {
    return this.#used.size
  }

  async acquire(): Promise<Slot> {
    for (;;) {
      if (this.#closed) throw new Error('the network slots are closed')
      const slot = this.#idle.shift() ?? (await this.#prepareNext())
      if (slot) {
        this.#used.add(slot.index)
        // Starting a program takes this process some milliseconds: the caller goes first.
        setImmediate(() => this.fill())
        return slot
      }
      // All that are not in use are just being prepared: one of them will do.
      if (this.#background.size === 0) throw new Error(`all ${this.#options.size} network slots are in use`)
      await Promise.race(this.#background)
    }
  }

  async release(slot: Slot): Promise<void> {
    if (!this.#used.has(slot.index)) return
    await deleteSlots(this.#options.installation, [slot.index])
    // Two releases of one slot both come to here: only the first gives its index back.
    if (!this.#used.delete(slot.index)) return
    this.#free.push(slot.index)
    this.fill()
  }

  async claim(index: number): Promise<Slot> {
    const { installation, inUse } = this.#options
    if (!inUse.has(index) || !this.#used.has(index)) throw new Error(`slot ${index} was not kept for a claim`)
    if (!(await existingSlots(installation)).includes(index))
      throw new Error(`slot ${index} is not on this host any more`)
    return this.#slot(index)
  }

  /** Prepares slots in the background until enough are idle. */
  fill(): void {
    while (
      !this.#closed &&
      this.#background.size < PREPARING_MAX &&
      this.#idle.length + this.#background.size < this.#options.idle &&
      this.#free.length > 0
    ) {
      const preparing = this.#prepareIdle().finally(() => {
        this.#background.delete(preparing)
      })
      this.#background.add(preparing)
    }
  }

  /** Removes those that are idle, and unless told to keep them those in use. */
  async close({ keep }: { readonly keep: boolean }): Promise<void> {
    this.#closed = true
    await Promise.all(this.#background)
    const indexes = this.#idle.splice(0).map((slot) => slot.index)
    if (!keep) {
      indexes.push(...this.#used)
      this.#used.clear()
    }
    await deleteSlots(this.#options.installation, indexes)
  }

  async #prepareIdle(): Promise<void> {
    try {
      const slot = await this.#prepareNext()
      if (slot) this.#idle.push(slot)
    } catch (err) {
      // Whoever needs a slot tries again, and is told.
      this.#options.log.warn({ err }, 'a network slot could not be prepared')
      return
    }
    setImmediate(() => this.fill()) // once this one no longer counts as being prepared
  }

  async #prepareNext(): Promise<Slot | undefined> {
    const index = this.#free.shift()
    if (index === undefined) return undefined
    const { installation, subnet, uidBase } = this.#options
    const layout = slotLayout(installation, subnet, index)
    try {
      await command('sh', ['-s'], {
        deadlineMs: PREPARE_MS,
        input: createSlotScript({ layout, uid: uidBase + index, relay: relayAddress(subnet) }),
      })
    } catch (error) {
      await deleteSlots(installation, [index])
      this.#free.push(index)
      throw new Error(`slot ${index} (${layout.name}) could not be prepared`, { cause: error })
    }
    return this.#slot(index)
  }

  #slot(index: number): Slot {
    const { installation, subnet, uidBase } = this.#options
    const { name, slotAddress } = slotLayout(installation, subnet, index)
    return Object.freeze({ index, netns: name, tap: TAP, address: slotAddress, uid: uidBase + index })
  }
}
