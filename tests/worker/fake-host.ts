// A host whose parts are counted and fail on demand, with the fake engine on it: machines are processes, snapshots are
// real. It outlives the workers on it, as a real one does.
import { copyFile, mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises'
import { existsSync, readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLog } from '@lelantos-ai/contract'
import { FakeEngine } from '@lelantos-ai/worker/engines/fake/fake'
import type { Verb } from '@lelantos-ai/worker/engines/fake/faults'
import { FakeGuest } from '@lelantos-ai/worker/engines/fake/guest'
import { type Guest, GuestError, type GuestInit } from '@lelantos-ai/worker/guest/guest'
import type { Cgroups } from '@lelantos-ai/worker/host/cgroups'
import { identify, killAndWait, type ProcessIdentity } from '@lelantos-ai/worker/host/process'
import type { Slot, Slots } from '@lelantos-ai/worker/net/slot'
import { type OpenSnapshots, openSnapshots } from '@lelantos-ai/worker/snapshots/open'
import { SnapshotError, type Snapshots } from '@lelantos-ai/worker/snapshots/snapshots'
import type { Volume } from '@lelantos-ai/worker/volume/volume'
import { installationKey } from './server.ts'

/** What can go wrong at a point: it throws, it never comes back, or the machine dies there. */
export type Fault = 'fails' | 'hangs' | 'dies'

export type Point =
  | `slots.${'acquire' | 'release'}`
  | `cgroups.${'create' | 'remove'}`
  | 'volume.room'
  | `snapshots.${'open' | 'begin' | 'seal' | 'delete'}`
  | `engine.${Verb}`
  | 'guest.init'

/** A machine as the host sees it. */
export interface HostMachine {
  readonly process: ProcessIdentity
  readonly guest: FakeGuest
}

export class FakeHost {
  readonly folder: string
  readonly slotsInUse = new Set<number>()
  readonly inits: { address: string; init: GuestInit }[] = []
  roomBytes = 1_000_000_000
  /** Each fault happens `times` times. */
  readonly #faults = new Map<Point, { fault: Fault; times: number }>()
  readonly #reached = new Map<Point, PromiseWithResolvers<void>>()
  readonly #hanging = new Set<() => void>()
  readonly #store: OpenSnapshots

  constructor(folder: string, store: OpenSnapshots) {
    this.folder = folder
    this.#store = store
  }

  static async make(): Promise<FakeHost> {
    const folder = await mkdtemp(join(tmpdir(), 'lelantos-worker-'))
    for (const name of ['machines', 'cgroups']) await mkdir(join(folder, name))
    return new FakeHost(folder, await openSnapshots({ root: folder, installationKey, log: silentLog }))
  }

  async remove(): Promise<void> {
    this.unhang()
    for (const { process } of await this.machines()) await killAndWait(process)
    await this.#store[Symbol.asyncDispose]()
    await rm(this.folder, { recursive: true, force: true })
  }

  fault(point: Point, fault: Fault, times = 1): void {
    this.#faults.set(point, { fault, times })
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

  /** Says that a point is passed, and what is to happen there. */
  take(point: Point): Fault | undefined {
    this.#reached.get(point)?.resolve()
    const planned = this.#faults.get(point)
    if (planned === undefined || planned.times === 0) return undefined
    planned.times--
    return planned.fault
  }

  async pass(point: Point): Promise<void> {
    const fault = this.take(point)
    if (fault === 'hangs') await new Promise<void>((resolve) => this.#hanging.add(resolve))
    else if (fault !== undefined) throw failureAt(point)
  }

  /** Every process that lives in a machine's folder, whoever knows of it. */
  async machines(): Promise<HostMachine[]> {
    const machines: HostMachine[] = []
    for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
      const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => '')
      if (!cwd.startsWith(join(this.folder, 'machines'))) continue
      const process = identify(Number(pid))
      if (process !== undefined) machines.push({ process, guest: new FakeGuest(cwd) })
    }
    return machines
  }

  /** Everything that a machine costs. Compared before and after, it shows a leak. */
  async holdings(): Promise<object> {
    const snapshots = await readdir(join(this.folder, 'snapshots'))
    return {
      alive: (await this.machines()).length,
      slots: this.slotsInUse.size,
      cgroups: (await readdir(join(this.folder, 'cgroups'))).length,
      folders: (await readdir(join(this.folder, 'machines'))).length,
      drafts: snapshots.filter((name) => name.startsWith('.')).length,
    }
  }

  /** The sealed snapshots. */
  get sealed(): ReadonlySet<string> {
    return new Set(readdirSync(join(this.folder, 'snapshots')).filter((name) => !name.startsWith('.')))
  }

  /** A snapshot like the template's, under another name. */
  async seal(snapshotID: string): Promise<void> {
    const [first = ''] = this.sealed
    const like = await this.#store.open(first)
    await using draft = await this.#store.begin(snapshotID)
    const copy = async (path: string) => {
      const name = path.split('/').at(-1) ?? ''
      await copyFile(path, join(draft.folder, name))
      return { name }
    }
    const [memory, state] = [await copy(like.memory), await copy(like.state)]
    const disks = await Promise.all(like.disks.map(copy))
    await this.#store.seal(draft, { world: like.world, memory, state, disks }, like)
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
      await mkdir(this.cgroupFolder(machineID))
      return [this.cgroupFolder(machineID)]
    },
    remove: async (machineID) => {
      await this.pass('cgroups.remove')
      const procs = join(this.cgroupFolder(machineID), 'cgroup.procs')
      const process = existsSync(procs) ? identify(Number(await readFile(procs, 'utf8'))) : undefined
      if (process !== undefined) await killAndWait(process)
      await rm(this.cgroupFolder(machineID), { recursive: true, force: true })
    },
    list: async () => new Map((await readdir(join(this.folder, 'cgroups'))).map((machineID) => [machineID, []])),
  }

  cgroupFolder(machineID: string): string {
    return join(this.folder, 'cgroups', machineID)
  }

  readonly volume: Omit<Volume, 'root'> = {
    reflink: false,
    clone: async (_, to) => writeFile(to, 'an image'),
    room: async () => {
      await this.pass('volume.room')
      return this.roomBytes
    },
  }

  readonly snapshots: Snapshots = {
    begin: async (snapshotID) => {
      await this.pass('snapshots.begin')
      return this.#store.begin(snapshotID)
    },
    seal: async (draft, saved, about) => {
      await this.pass('snapshots.seal')
      return this.#store.seal(draft, saved, about)
    },
    open: async (snapshotID) => {
      await this.pass('snapshots.open')
      return this.#store.open(snapshotID)
    },
    mustFit: (snapshot, world) => this.#store.mustFit(snapshot, world),
    delete: async (snapshotID) => {
      await this.pass('snapshots.delete')
      return this.#store.delete(snapshotID)
    },
    list: () => this.#store.list(),
  }

  readonly guest: Guest = {
    init: async (address, secret, init, signal) => {
      await raced(this.pass('guest.init'), signal)
      if (!/^[0-9a-f]{64}$/.test(secret)) throw new GuestError('the secret is wrong')
      this.inits.push({ address, init })
    },
    setClock: async () => {},
    healthy: async () => {},
    exercise: async () => {},
  }

  readonly engine = new PointedEngine(this)
}

/** The fake engine, with the faults that the host has planned for its verbs. */
class PointedEngine extends FakeEngine {
  readonly #host: FakeHost

  constructor(host: FakeHost) {
    super()
    this.#host = host
  }

  override async meet(verb: Verb, vmm: ProcessIdentity, signal: AbortSignal): Promise<void> {
    const fault = this.#host.take(`engine.${verb}`)
    if (fault === 'fails') this.faults.inject(verb, { kind: 'fail', message: `a fault at engine.${verb}` })
    else if (fault !== undefined) this.faults.inject(verb, { kind: fault === 'dies' ? 'die' : 'hang' })
    await super.meet(verb, vmm, signal)
  }
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
  return new Error(message)
}

function raced(step: Promise<void>, signal: AbortSignal): Promise<void> {
  return Promise.race([
    step,
    new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
  ])
}
