// A worker node: takes orders for this host, keeps the machines that sandboxes have, and says once a second what it holds.
//
//   orders (bus) ── door ── supervisor of the sandbox ── verbs ── engine, slots, snapshots, guest
//                                │
//                              roster (on disk before acting, and before answering)
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { Compile } from 'typebox/compile'
import { type Bus, type Log, Order, type OrderReply, subjects } from '@lelantos-ai/contract'
import { Admission } from './admission.ts'
import type { Clock, Ports, WorkerNode } from './node.ts'
import { Reports } from './reports.ts'
import { Roster, type RosterEntry } from './roster.ts'
import { stateOf } from './statement.ts'
import { Supervisor } from './supervisor.ts'
import { sweep } from './sweep.ts'
import { Templates, type TemplateSource } from './templates.ts'
import { Turns } from './turns.ts'

export interface WorkerOptions extends Ports {
  /** Six hex digits. */
  readonly installation: string
  /** 32 bytes. */
  readonly installationKey: Uint8Array
  readonly workerID: string
  readonly bus: Bus
  readonly log: Log
  /** What the worker itself keeps: the roster. On a file system that guests cannot fill. */
  readonly folder: string
  /** For machines. */
  readonly memoryTotalMB: number
  /** Above 1, more is promised than there is. */
  readonly overcommit: number
  /** At the same time; as many as there are cores unless given. */
  readonly parallelRestores?: number
  readonly templates: readonly TemplateSource[]
  readonly version: string
  /** Of this boot of the host. */
  readonly bootID: string
  readonly clock?: Clock
  /** A line for people about each step of something that takes seconds. */
  readonly progress?: (text: string) => void
}

/** For people: what of a sandbox is on this host. */
interface Inspection {
  readonly sandboxID: string
  readonly phase: RosterEntry['phase']
  readonly generation: number
  readonly engine: string
  readonly machineID: string | null
  readonly pid: number | null
  readonly netns: string | null
  readonly address: string | null
  readonly uid: number | null
  readonly cgroup: readonly string[]
  readonly files: { readonly machine: string | null; readonly memory: string | null; readonly disks: readonly string[] }
  readonly snapshotID: string | null
  readonly endAt: string | null
}

export interface Worker {
  /** Resolves when every template can be used; orders about sandboxes that exist are taken before. */
  readonly ready: Promise<void>
  inspect(sandboxID: string): Inspection | undefined
  /** Takes no more orders. `keep` leaves machines running, for the next worker to adopt; `end` ends their sandboxes. */
  close(options: { machines: 'keep' | 'end' }): Promise<void>
}

const STATEMENT_MS = 1000
/** Changes that come together make one statement. */
const GATHER_MS = 20
/** An ended sandbox leaves its generation for this long, so that an order which comes late is stale. */
const TOMBSTONE_MS = 3_600_000

const orders = Compile(Order)

/** Resolves when what a worker before this one left has been taken over or removed, and orders are taken. */
export async function startWorker(options: WorkerOptions): Promise<Worker> {
  const roster = await Roster.open(join(options.folder, 'roster'), options.log)
  const worker = new RunningWorker(options, roster)
  await worker.start()
  return worker
}

class RunningWorker implements Worker {
  readonly ready: Promise<void>
  readonly #options: WorkerOptions
  readonly #node: WorkerNode
  readonly #reports: Reports
  #supervisors = new Map<string, Supervisor>()
  readonly #resources = new AsyncDisposableStack()
  readonly #swept = Promise.withResolvers<void>()
  #gathering: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: WorkerOptions, roster: Roster) {
    const { bus, installation, log } = options
    this.#options = options
    this.#reports = new Reports(bus, installation, log)
    this.#resources.use(this.#reports)
    const { memoryTotalMB: totalMB, overcommit, engine } = options
    this.#node = {
      ...portsOf(options),
      installation,
      installationKey: options.installationKey,
      workerID: options.workerID,
      bootID: options.bootID,
      clock: options.clock ?? Date,
      log,
      roster,
      admission: new Admission({ totalMB, overcommit, overheadMB: engine.can.overheadMB }),
      restores: new Turns(options.parallelRestores ?? availableParallelism()),
      templates: new Templates(options.templates),
      reports: this.#reports,
      changed: () => this.#changed(),
      freed: () => this.#state(),
    }
    const progress = options.progress ?? (() => {})
    this.ready = this.#swept.promise.then(() => this.#node.templates.ready(this.#node, progress, () => this.#changed()))
    this.ready.catch((err: unknown) => log.error({ err }, 'the templates could not be made'))
  }

  async start(): Promise<void> {
    const { bus, installation, workerID } = this.#options
    try {
      this.#supervisors = await sweep(this.#node, await this.#node.roster.read())
      this.#resources.use(await bus.reply(subjects.order(installation, workerID), (message) => this.#order(message)))
    } catch (error) {
      this.#swept.reject(error)
      await this.#resources.disposeAsync()
      throw error
    }
    const timer = setInterval(() => this.#tick(), STATEMENT_MS)
    this.#resources.defer(() => clearInterval(timer))
    this.#state()
    this.#swept.resolve()
  }

  inspect(sandboxID: string): Inspection | undefined {
    const supervisor = this.#supervisors.get(sandboxID)
    return supervisor?.entry && inspectionOf(supervisor.entry, supervisor, this.#node.engine.can.label)
  }

  async close(options: { machines: 'keep' | 'end' }): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#gathering)
    this.#node.templates.stop()
    await this.ready.catch(() => {})
    await Promise.all([...this.#supervisors.values()].map((supervisor) => supervisor.close(options.machines)))
    await this.#resources.disposeAsync()
  }

  /** The server is believed nothing: what is no order, to the letter, is refused. */
  async #order(message: unknown): Promise<OrderReply> {
    if (!orders.Check(message)) throw new Error('the message is not an order')
    const order = message
    if ('endAt' in order.args && order.args.endAt !== null && Number.isNaN(Date.parse(order.args.endAt)))
      throw new Error('endAt must be a time')
    if (this.#closed) return { status: 'working' }
    let supervisor = this.#supervisors.get(order.sandboxID)
    supervisor ??= new Supervisor(this.#node, order.sandboxID)
    const reply = supervisor.order(order)
    // One that was refused leaves nothing behind, and so needs no supervisor.
    if (!supervisor.idle) this.#supervisors.set(order.sandboxID, supervisor)
    return reply
  }

  #tick(): void {
    this.#state()
    const over = this.#node.clock.now() - TOMBSTONE_MS
    for (const [sandboxID, supervisor] of this.#supervisors) {
      const ended = supervisor.entry?.ended
      if (!supervisor.idle || !ended?.reported || Date.parse(ended.at) > over) continue
      this.#supervisors.delete(sandboxID)
      this.#node.roster
        .remove(sandboxID)
        .catch((err: unknown) => this.#node.log.warn({ err, sandboxID }, 'an old entry could not be removed'))
    }
  }

  #changed(): void {
    if (this.#closed) return
    this.#gathering ??= setTimeout(() => this.#state(), GATHER_MS)
  }

  #state(): void {
    clearTimeout(this.#gathering)
    this.#gathering = undefined
    if (this.#closed) return
    const entries = [...this.#supervisors.values()].flatMap(({ entry }) => entry ?? [])
    const statement = stateOf(this.#node, this.#options.version, entries)
    this.#options.bus.publish(subjects.statement(this.#options.installation), statement)
  }
}

function portsOf({ engine, slots, volume, snapshots, cgroups, guest }: Ports): Ports {
  return { engine, slots, volume, snapshots, cgroups, guest }
}

function inspectionOf(entry: RosterEntry, { held }: Pick<Supervisor, 'held'>, engine: string): Inspection {
  return {
    sandboxID: entry.sandboxID,
    phase: entry.phase,
    generation: entry.generation,
    engine,
    machineID: held?.place.machineID ?? null,
    pid: held?.machine.handle.pid ?? null,
    netns: held?.place.slot.netns ?? null,
    address: held?.place.slot.address ?? null,
    uid: held?.place.slot.uid ?? null,
    cgroup: held?.place.cgroups ?? [],
    files: {
      machine: held?.place.folder ?? null,
      memory: held?.from.memory ?? null,
      disks: held?.from.disks ?? [],
    },
    snapshotID: entry.snapshotID ?? null,
    endAt: entry.endAt,
  }
}
