// A host whose parts are counted and fail on demand. It outlives the workers on it, as a real one does.
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type {
  Engine,
  Exit,
  Handle,
  Place,
  Running,
  Saved,
  Shape,
  Snapshot,
  Stopped,
  World,
} from '@lelantos-ai/worker/engines/engine'
import { EngineError } from '@lelantos-ai/worker/engines/engine'
import { type Guest, GuestError, type GuestInit } from '@lelantos-ai/worker/guest/guest'
import type { Cgroups } from '@lelantos-ai/worker/host/cgroups'
import type { Slot, Slots } from '@lelantos-ai/worker/net/slot'
import { type Draft, type SealedSnapshot, SnapshotError, type Snapshots } from '@lelantos-ai/worker/snapshots/snapshots'
import type { Volume } from '@lelantos-ai/worker/volume/volume'

/** What can go wrong at a point: it throws, it never comes back, it takes its time, or the machine dies there. */
export type Fault = 'fails' | 'hangs' | 'slow' | 'dies'

export const points = [
  'slots.acquire',
  'slots.release',
  'cgroups.create',
  'cgroups.remove',
  'volume.room',
  'snapshots.open',
  'snapshots.begin',
  'snapshots.seal',
  'snapshots.delete',
  'engine.restore',
  'machine.run',
  'machine.stop',
  'machine.save',
  'machine.kill',
  'guest.init',
] as const
export type Point = (typeof points)[number]

export class FakeHost {
  readonly folder: string
  readonly machines = new Map<string, FakeMachine>()
  readonly slotsInUse = new Set<number>()
  readonly cgroupNames = new Set<string>()
  readonly sealed = new Map<string, SealedSnapshot>()
  readonly drafts = new Set<string>()
  readonly inits: { address: string; init: GuestInit }[] = []
  /** Points passed, in order. */
  readonly passed: Point[] = []
  clockSettings = 0
  roomBytes = 1_000_000_000
  /** Each fault happens `times` times. */
  #faults = new Map<Point, { fault: Fault; times: number }>()
  readonly #reached = new Map<Point, PromiseWithResolvers<void>>()
  #hanging = new Set<() => void>()
  #pids = 100_000

  constructor(folder: string) {
    this.folder = folder
  }

  static async make(): Promise<FakeHost> {
    const folder = await mkdtemp(join(tmpdir(), 'lelantos-worker-'))
    await mkdir(join(folder, 'machines'))
    return new FakeHost(folder)
  }

  async remove(): Promise<void> {
    this.unhang()
    await rm(this.folder, { recursive: true, force: true })
  }

  fault(point: Point, fault: Fault, times = 1): void {
    this.#faults.set(point, { fault, times })
  }

  clearFaults(): void {
    this.#faults.clear()
  }

  /** Resolves when a point is next passed. */
  reached(point: Point): Promise<void> {
    const reached = Promise.withResolvers<void>()
    this.#reached.set(point, reached)
    return reached.promise
  }

  /** What hung comes back after all. */
  unhang(): void {
    for (const go of this.#hanging) go()
    this.#hanging.clear()
  }

  /** Leads a call through a point. */
  async pass(point: Point, machine?: FakeMachine): Promise<void> {
    this.passed.push(point)
    this.#reached.get(point)?.resolve()
    const planned = this.#faults.get(point)
    if (planned === undefined || planned.times === 0) return
    planned.times--
    if (planned.fault === 'fails') throw failureAt(point)
    if (planned.fault === 'dies') {
      machine?.exit({ reason: 'vmm_died', message: `died at ${point}` })
      throw failureAt(point)
    }
    if (planned.fault === 'slow') await new Promise((resolve) => setTimeout(resolve, 30))
    else await new Promise<void>((resolve) => this.#hanging.add(resolve))
  }

  /** Everything that a machine costs. Compared before and after, it shows a leak. */
  async holdings(): Promise<object> {
    return {
      alive: [...this.machines.values()].filter((machine) => machine.alive).length,
      slots: this.slotsInUse.size,
      cgroups: this.cgroupNames.size,
      folders: (await readdir(join(this.folder, 'machines'))).length,
      drafts: this.drafts.size,
    }
  }

  seal(snapshotID: string, about: { buildID: string; shape: Shape; controlSecret?: string }): SealedSnapshot {
    const sealed: SealedSnapshot = {
      snapshotID,
      memory: `/snapshots/${snapshotID}/memory`,
      state: `/snapshots/${snapshotID}/state`,
      disks: [`/snapshots/${snapshotID}/disk`],
      world: worldOf(about.shape),
      buildID: about.buildID,
      madeWith: { kernel: 'k', guest: 'g', image: 'i' },
      controlSecret: about.controlSecret ?? 'a'.repeat(64),
      createdAt: new Date(),
      bytes: 4096,
    }
    this.sealed.set(snapshotID, sealed)
    return sealed
  }

  nextPid(): number {
    return this.#pids++
  }

  readonly slots: Slots = {
    acquire: async () => {
      await this.pass('slots.acquire')
      let index = 0
      while (this.slotsInUse.has(index)) index++
      this.slotsInUse.add(index)
      return slotAt(index)
    },
    release: async (slot) => {
      await this.pass('slots.release')
      if (!this.slotsInUse.delete(slot.index)) throw new Error(`slot ${slot.index} was released twice`)
    },
    claim: async (index) => {
      this.slotsInUse.add(index)
      return slotAt(index)
    },
  }

  readonly cgroups: Cgroups = {
    create: async (machineID) => {
      await this.pass('cgroups.create')
      this.cgroupNames.add(machineID)
      return [`/cgroups/${machineID}`]
    },
    remove: async (machineID) => {
      await this.pass('cgroups.remove')
      this.machines.get(machineID)?.exit({ reason: 'killed', message: 'killed with its cgroup' })
      this.cgroupNames.delete(machineID)
    },
    list: async () => new Map([...this.cgroupNames].map((machineID) => [machineID, []])),
  }

  readonly volume: Volume = {
    root: '',
    reflink: true,
    clone: async (_, to) => writeFile(to, ''),
    room: async () => {
      await this.pass('volume.room')
      return this.roomBytes
    },
  }

  readonly snapshots: Snapshots = {
    begin: async (snapshotID) => {
      await this.pass('snapshots.begin')
      this.drafts.add(snapshotID)
      const draft: Draft = {
        folder: snapshotID,
        [Symbol.asyncDispose]: async () => void this.drafts.delete(snapshotID),
      }
      return draft
    },
    seal: async (draft, saved, about) => {
      await this.pass('snapshots.seal')
      this.drafts.delete(draft.folder)
      return this.seal(draft.folder, { ...about, shape: saved.world.shape })
    },
    open: async (snapshotID) => {
      await this.pass('snapshots.open')
      const sealed = this.sealed.get(snapshotID)
      if (sealed === undefined) throw new SnapshotError('snapshot_missing', `there is no snapshot ${snapshotID}`)
      return sealed
    },
    mustFit: (snapshot, world) => {
      if (snapshot.world.version !== world.version) throw new SnapshotError('does_not_fit', 'version differs')
    },
    delete: async (snapshotID) => {
      await this.pass('snapshots.delete')
      this.sealed.delete(snapshotID)
    },
    list: async () => [...this.sealed.keys()],
  }

  readonly guest: Guest = {
    init: async (address, secret, init, signal) => {
      await raced(this.pass('guest.init'), signal)
      if (!/^[0-9a-f]{64}$/.test(secret)) throw new GuestError('the secret is wrong')
      this.inits.push({ address, init })
    },
    setClock: async () => void this.clockSettings++,
    healthy: async () => {},
    exercise: async () => {},
  }

  readonly engine: Engine = {
    name: 'counted',
    can: { overheadMB: 0, label: 'counted' },
    world: worldOf,
    boot: async (spec) => new FakeMachine(this, spec).running(),
    restore: async (_: Snapshot, place: Place) => {
      const machine = new FakeMachine(this, place)
      try {
        await this.pass('engine.restore', machine)
      } catch (error) {
        machine.exit({ reason: 'vmm_died', message: 'it did not come up' })
        throw error
      }
      return machine.stopped()
    },
    adopt: async (handle) => {
      const machine = this.machines.get(handle.machineID)
      if (machine === undefined || !machine.alive) return undefined
      return machine.phase === 'running' ? machine.running() : machine.stopped()
    },
  }
}

export class FakeMachine {
  readonly host: FakeHost
  readonly handle: Handle
  readonly exited: Promise<Exit>
  readonly shape: Shape
  alive = true
  phase: 'running' | 'stopped' = 'stopped'
  readonly #exited = Promise.withResolvers<Exit>()

  constructor(host: FakeHost, place: Place) {
    this.host = host
    this.shape = place.shape
    this.exited = this.#exited.promise
    const { machineID, folder } = place
    this.handle = { engine: 'counted', machineID, folder, pid: host.nextPid(), startTime: 1, private: {} }
    host.machines.set(machineID, this)
  }

  exit(exit: Exit): void {
    this.alive = false
    this.#exited.resolve(exit)
  }

  kill = async (): Promise<void> => {
    await this.host.pass('machine.kill')
    this.exit({ reason: 'killed', message: 'killed' })
  }

  running(): Running {
    this.phase = 'running'
    const { handle, exited, kill } = this
    return { phase: 'running', handle, exited, kill, stop: () => this.#stop() }
  }

  stopped(): Stopped {
    this.phase = 'stopped'
    const { handle, exited, kill } = this
    return { phase: 'stopped', handle, exited, kill, run: () => this.#run(), save: () => this.#save() }
  }

  async #run(): Promise<Running> {
    await this.#pass('machine.run')
    return this.running()
  }

  async #stop(): Promise<Stopped> {
    await this.#pass('machine.stop')
    return this.stopped()
  }

  async #save(): Promise<Saved> {
    await this.#pass('machine.save')
    return {
      world: worldOf(this.shape),
      memory: { name: 'memory' },
      state: { name: 'state' },
      disks: [{ name: 'disk' }],
    }
  }

  async #pass(point: Point): Promise<void> {
    await this.host.pass(point, this)
    if (!this.alive) throw new EngineError(`the machine is gone at ${point}`)
  }
}

function worldOf(shape: Shape): World {
  return { engine: 'counted', version: '1', devices: '1', accelerator: 'none', cpu: 'none', shape }
}

function slotAt(index: number): Slot {
  const id = process.getuid?.() ?? 0
  return { index, netns: `fake${index}`, tap: 'tap0', address: `10.0.0.${index + 1}`, uid: id }
}

function failureAt(point: Point): Error {
  const message = `a fault at ${point}`
  if (point.startsWith('guest.')) return new GuestError(message)
  if (point === 'snapshots.open') return new SnapshotError('snapshot_damaged', message)
  if (point === 'snapshots.seal') return Object.assign(new Error(message), { code: 'ENOSPC' })
  return point.startsWith('engine.') || point.startsWith('machine.') ? new EngineError(message) : new Error(message)
}

function raced(step: Promise<void>, signal: AbortSignal): Promise<void> {
  return Promise.race([
    step,
    new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
  ])
}
