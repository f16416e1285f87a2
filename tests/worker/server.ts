// What a server does with a worker, as far as these tests need it: orders that are repeated until they are settled,
// reports that are taken, and the last statement.
import {
  newID,
  type Order,
  type Outcome,
  type OrderReply,
  type Report,
  type Statement,
  subjects,
  silentLog,
} from '@lelantos-ai/contract'
import { MemoryBus } from '@lelantos-ai/contract/bus-memory'
import type { Ports } from '@lelantos-ai/worker/node'
import { startWorker, type Worker, type WorkerOptions } from '@lelantos-ai/worker/worker'
import type { TemplateSource } from '@lelantos-ai/worker/templates'
import { vi } from 'vitest'
import type { FakeHost } from './fake-host.ts'

const installation = 'abcdef'
export const installationKey = new Uint8Array(32).fill(7)
const template: TemplateSource = {
  name: 'base',
  buildID: newID('build'),
  image: '/dev/null',
  kernel: '/dev/null',
  initramfs: '/dev/null',
  shape: { cpuCount: 2, memoryMB: 512, diskSizeMB: 20_480 },
  madeWith: { kernel: 'k', guest: 'g', image: 'i' },
}

export const createArgs = {
  buildID: template.buildID,
  cpuCount: 2,
  memoryMB: 512,
  endAt: null as string | null,
  environment: '',
  templateID: 'base',
}

export class Server {
  readonly bus: MemoryBus = new MemoryBus()
  readonly workerID = newID('worker')
  readonly reports: Report[] = []
  statement: Statement | undefined
  /** Whether reports are taken. */
  takes = true
  readonly #installation: string
  readonly #generations = new Map<string, number>()

  constructor(id = installation) {
    this.#installation = id
  }

  async listen(): Promise<void> {
    await this.bus.watch(
      subjects.statement(this.#installation),
      (message) => void (this.statement = message as Statement),
    )
    await this.bus.reply(subjects.report(this.#installation), async (message) => {
      this.reports.push(message as Report)
      return { taken: this.takes }
    })
  }

  worker(host: FakeHost, options: Partial<WorkerOptions> = {}): Promise<Worker> {
    const { engine, slots, snapshots, cgroups, guest } = host
    const volume = { ...host.volume, root: host.folder }
    const folder = `${host.folder}/worker`
    return this.workerOver({ engine, slots, snapshots, cgroups, guest, volume }, { folder, ...options })
  }

  workerOver(parts: Ports, options: Partial<WorkerOptions> & { folder: string }): Promise<Worker> {
    return startWorker({
      ...parts,
      installation,
      installationKey,
      workerID: this.workerID,
      bus: this.bus,
      log: silentLog,
      memoryTotalMB: 4096,
      overcommit: 1,
      parallelRestores: 2,
      templates: [template],
      version: '0',
      bootID: 'boot-1',
      ...options,
    })
  }

  /** An order at the sandbox's next generation. */
  next<V extends Order['verb']>(verb: V, sandboxID: string, args: Extract<Order, { verb: V }>['args']): Order {
    const generation = (this.#generations.get(sandboxID) ?? 0) + 1
    this.#generations.set(sandboxID, generation)
    return { verb, sandboxID, generation, operationID: newID('operation'), args } as Order
  }

  once(order: unknown): Promise<OrderReply> {
    const subject = subjects.order(this.#installation, this.workerID)
    return this.bus.request(subject, order, { timeoutMs: 10_000 }) as Promise<OrderReply>
  }

  /** Repeats an order until it is settled. */
  async settle(order: Order, deadlineMs = 20_000): Promise<Outcome> {
    return vi.waitFor(
      async () => {
        const reply = await this.once(order)
        if (reply.status === 'working') throw new Error('still working')
        return reply
      },
      { timeout: deadlineMs, interval: 20 },
    )
  }

  create(sandboxID: string, args: Partial<typeof createArgs> = {}): Promise<Outcome> {
    return this.settle(this.next('create', sandboxID, { ...createArgs, ...args }))
  }

  pause(sandboxID: string, snapshotID = newID('snapshot')): Promise<Outcome> {
    return this.settle(this.next('pause', sandboxID, { snapshotID }))
  }

  resume(sandboxID: string, snapshotID: string, endAt: string | null = null): Promise<Outcome> {
    return this.settle(this.next('resume', sandboxID, { snapshotID, endAt }))
  }

  kill(sandboxID: string): Promise<Outcome> {
    return this.settle(this.next('kill', sandboxID, {}))
  }

  phase(sandboxID: string): string | undefined {
    return this.statement?.holdings.find((holding) => holding.sandboxID === sandboxID)?.phase
  }
}
