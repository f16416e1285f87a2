// Where a machine lives: memory that is promised to it, a cgroup, a network slot, a folder. Acquired together, given back
// together.
import { chown, mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Reservation } from './admission.ts'
import type { Place, Shape } from './engines/engine.ts'
import { OperationFailed } from './failure.ts'
import type { Slot } from './net/slot.ts'
import type { WorkerNode } from './node.ts'
import { together } from './until.ts'

/** Disposal gives everything back. It may be repeated when it failed: what has been given back stays so. */
export interface HeldPlace extends Place, AsyncDisposable {}

type Host = Pick<WorkerNode, 'admission' | 'cgroups' | 'engine' | 'slots' | 'volume'>

/** Processes and threads in a machine's cgroup: a vCPU each, and the VMM's own for disk and network. */
const PROCESSES = 256
const ATTEMPTS = 4
const RETRY_MS = 50

/** Throws `OperationFailed`: `full` when memory or slots are short, `disk_full` when the volume is below its reserve. */
export async function acquirePlace(host: Host, machineID: string, shape: Shape): Promise<HeldPlace> {
  await using taken = new Taken(host, machineID)
  taken.reservation = host.admission.reserve(shape.memoryMB)
  const limits = { memoryMB: shape.memoryMB + host.engine.can.overheadMB, processes: PROCESSES }
  const [slot, cgroups] = await together([
    taken.acquireSlot(),
    taken.makeCgroup(limits),
    taken.makeFolder(),
    mustHaveRoom(host),
  ])
  await chown(taken.folder, slot.uid, slot.uid)
  return taken.place(slot, cgroups, shape)
}

/** The place of a machine that survived a restart of the worker. */
export async function reclaimPlace(host: Host, machineID: string, slotIndex: number, shape: Shape): Promise<HeldPlace> {
  await using taken = new Taken(host, machineID)
  taken.reservation = host.admission.adopt(shape.memoryMB)
  taken.cgroup = true
  taken.hasFolder = true
  const slot = await host.slots.claim(slotIndex)
  taken.slot = slot
  return taken.place(slot, [], shape)
}

export function machineFolder(host: Pick<WorkerNode, 'volume'>, machineID: string): string {
  return join(host.volume.root, 'machines', machineID)
}

export async function mustHaveRoom(host: Pick<WorkerNode, 'volume'>): Promise<void> {
  const room = await host.volume.room()
  if (room <= 0) throw new OperationFailed('disk_full', `the VM volume is ${-room} bytes into its reserve`)
}

class Taken implements AsyncDisposable {
  readonly folder: string
  reservation: Reservation | undefined
  cgroup = false
  hasFolder = false
  slot: Slot | undefined
  #moved = false
  readonly #host: Host
  readonly #machineID: string

  constructor(host: Host, machineID: string) {
    this.#host = host
    this.#machineID = machineID
    this.folder = machineFolder(host, machineID)
  }

  async acquireSlot(): Promise<Slot> {
    try {
      return (this.slot = await this.#host.slots.acquire())
    } catch (cause) {
      throw new OperationFailed('full', 'there is no network slot left', { cause })
    }
  }

  makeCgroup(limits: { memoryMB: number; processes: number }): Promise<readonly string[]> {
    this.cgroup = true
    return this.#host.cgroups.create(this.#machineID, limits)
  }

  async makeFolder(): Promise<void> {
    this.hasFolder = true
    await mkdir(this.folder, { recursive: true, mode: 0o700 })
  }

  place(slot: Slot, cgroups: readonly string[], shape: Shape): HeldPlace {
    const held = new Taken(this.#host, this.#machineID)
    Object.assign(held, { reservation: this.reservation, cgroup: this.cgroup, hasFolder: this.hasFolder, slot })
    this.#moved = true
    return {
      machineID: this.#machineID,
      folder: this.folder,
      slot,
      cgroups,
      shape,
      [Symbol.asyncDispose]: () => held[Symbol.asyncDispose](),
    }
  }

  /** What fails is tried again a few times: a place that is not given back stays lost until the worker's next start. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#moved) return
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#giveBack()
      } catch (error) {
        if (attempt === ATTEMPTS) throw error
        await pause(attempt * RETRY_MS)
      }
    }
  }

  /** The cgroup first: what still runs in it is killed, and uses nothing of the rest any more. */
  async #giveBack(): Promise<void> {
    if (this.cgroup) {
      await this.#host.cgroups.remove(this.#machineID)
      this.cgroup = false
    }
    await together([this.#removeFolder(), this.#releaseSlot()])
    this.reservation?.[Symbol.dispose]()
  }

  async #removeFolder(): Promise<void> {
    if (!this.hasFolder) return
    await rm(this.folder, { recursive: true, force: true })
    this.hasFolder = false
  }

  async #releaseSlot(): Promise<void> {
    if (this.slot === undefined) return
    const slot = this.slot
    this.slot = undefined // once: another machine may have it the moment it is free
    try {
      await this.#host.slots.release(slot)
    } catch (error) {
      this.slot = slot
      throw error
    }
  }
}
