// A worker that follows the protocol of `orders.ts` without any machine: it keeps a roster in memory, answers a repeated
// order as before, refuses a late one, and lets a newer one abort what is under way. How an order ends can be scripted.
import { type Bus, newID, Order, type OrderReply, type Outcome, type Statement, subjects } from '@lelantos-ai/contract'
import { Compile } from 'typebox/compile'

const schema = Compile(Order)

interface Entry {
  readonly generation: number
  readonly operationID: string
  outcome: Outcome | undefined
  readonly settled: Promise<void>
}

interface Machine {
  phase: 'running' | 'paused'
  snapshots: Set<string>
  endAt: string | null
}

export interface ScriptedWorkerOptions {
  readonly bus: Bus
  readonly installation: string
  readonly buildID: string
  readonly workerID?: string
  readonly totalMB?: number
  /** Milliseconds that an order takes. */
  readonly takes?: () => number
}

export type Script = (order: Order) => Outcome | Promise<Outcome> | undefined

/** A script whose orders all fail with this code. */
export const fails = (code: string) => (): Outcome => ({ status: 'failed', code, message: `it was ${code}` }) as Outcome

/** A script whose orders of this verb are taken and never end. */
export const hangs = (verb: string) => (order: Order) =>
  order.verb === verb ? new Promise<Outcome>(() => {}) : undefined

const WORKING_AFTER_MS = 30

export class ScriptedWorker implements AsyncDisposable {
  readonly workerID: string
  readonly received: Order[] = []
  readonly machines = new Map<string, Machine>()
  /** Gives an outcome instead of acting; `undefined` lets the worker act. */
  script: Script = () => undefined
  bootID = 'boot-one'
  totalMB: number
  reservedMB = 0
  /** Whether outcomes are reported as well as answered. */
  reports = true
  readonly #options: ScriptedWorkerOptions
  readonly #roster = new Map<string, Entry>()
  readonly #stack = new AsyncDisposableStack()
  #stating: NodeJS.Timeout | undefined

  constructor(options: ScriptedWorkerOptions) {
    this.#options = options
    this.workerID = options.workerID ?? newID('worker')
    this.totalMB = options.totalMB ?? 1_000_000
  }

  async start(): Promise<this> {
    const { bus, installation } = this.#options
    const subject = subjects.order(installation, this.workerID)
    this.#stack.use(await bus.reply(subject, (message) => this.take(message)))
    this.#stating = setInterval(() => this.state(), 200)
    this.#stack.defer(() => clearInterval(this.#stating))
    this.state()
    return this
  }

  /** Is heard no more, and takes orders still. */
  fallSilent(): void {
    clearInterval(this.#stating)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync()
  }

  state(changes: Partial<Statement> = {}): void {
    const { bus, installation, buildID } = this.#options
    const build = { buildID, name: 'base', cpuCount: 2, memoryMB: 512, diskSizeMB: 20_480, envdVersion: '0.5.7' }
    const statement: Statement = {
      workerID: this.workerID,
      hostname: 'host',
      at: new Date().toISOString(),
      bootID: this.bootID,
      version: '0.1.0',
      engine: 'scripted',
      memory: { totalMB: this.totalMB, reservedMB: this.reservedMB },
      overheadMB: 0,
      builds: [build],
      holdings: [...this.machines].map(([sandboxID, { phase }]) => ({
        sandboxID,
        generation: this.#roster.get(sandboxID)?.generation ?? 1,
        phase,
      })),
      ...changes,
    }
    bus.publish(subjects.statement(installation), statement)
  }

  /** Reports until it is taken. */
  async report(sandboxID: string, generation: number, event: object): Promise<void> {
    const { bus, installation } = this.#options
    const message = { workerID: this.workerID, sandboxID, generation, event }
    for (let n = 0; n < 100; n++) {
      try {
        const reply = await bus.request(subjects.report(installation), message, { timeoutMs: 200 })
        if ((reply as { taken: boolean }).taken) return
      } catch {
        // lost, or nobody is there yet: again
      }
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  async take(message: unknown): Promise<OrderReply> {
    if (!schema.Check(message)) throw new Error(`no order: ${JSON.stringify([...schema.Errors(message)])}`)
    const order = message
    this.received.push(order)
    const entry = this.#roster.get(order.sandboxID)
    const late = { status: 'failed', code: 'stale', message: 'a newer order has come' } as const
    if (entry !== undefined && order.generation < entry.generation) return late
    if (entry?.operationID === order.operationID) return this.#reply(entry)
    if (entry !== undefined && order.generation === entry.generation) return late
    return this.#reply(this.#begin(order))
  }

  async #reply(entry: Entry): Promise<OrderReply> {
    let timer: NodeJS.Timeout | undefined
    const patience = new Promise<void>((resolve) => (timer = setTimeout(resolve, WORKING_AFTER_MS)))
    await Promise.race([entry.settled, patience])
    clearTimeout(timer)
    return entry.outcome ?? { status: 'working' }
  }

  #begin(order: Order): Entry {
    const { promise, resolve } = Promise.withResolvers<void>()
    const entry: Entry = {
      generation: order.generation,
      operationID: order.operationID,
      outcome: undefined,
      settled: promise,
    }
    this.#roster.set(order.sandboxID, entry)
    void (async () => {
      const takes = this.#options.takes?.() ?? 0
      if (takes > 0) await new Promise((next) => setTimeout(next, takes))
      const overtaken = () => this.#roster.get(order.sandboxID) !== entry
      const scripted = await this.script(order)
      if (overtaken()) entry.outcome = { status: 'failed', code: 'aborted', message: 'a newer order has come' }
      else entry.outcome = scripted ?? this.#act(order)
      resolve()
      if (this.reports && !overtaken())
        await this.report(order.sandboxID, order.generation, {
          kind: 'settled',
          operationID: order.operationID,
          outcome: entry.outcome,
        })
    })()
    return entry
  }

  #act(order: Order): Outcome {
    const { sandboxID } = order
    const machine = this.machines.get(sandboxID)
    const unknown = { status: 'failed', code: 'unknown_sandbox', message: 'no such sandbox' } as const
    const running = { status: 'done', address: '10.1.2.3', machineID: 'abcdef01234567' } as const
    switch (order.verb) {
      case 'create':
        this.machines.set(sandboxID, { phase: 'running', snapshots: new Set(), endAt: order.args.endAt })
        return running
      case 'pause':
        if (machine?.phase !== 'running') return unknown
        machine.phase = 'paused'
        machine.snapshots.add(order.args.snapshotID)
        return { status: 'done', snapshotBytes: 1_000_000 }
      case 'resume':
        if (machine === undefined || !machine.snapshots.has(order.args.snapshotID))
          return { status: 'failed', code: 'snapshot_missing', message: 'no such snapshot' }
        Object.assign(machine, { phase: 'running', endAt: order.args.endAt })
        return running
      case 'release':
        if (machine !== undefined) machine.phase = 'paused'
        return { status: 'done' }
      case 'kill':
        this.machines.delete(sandboxID)
        return { status: 'done' }
      case 'deadline':
        if (machine?.phase !== 'running') return unknown
        machine.endAt = order.args.endAt
        return { status: 'done' }
    }
  }
}
