// An installation as the API sees one: a real PostgreSQL, the real control plane and guest daemon; only the worker is
// played, since what it does takes a VM. Each sandbox's daemon is an ordinary process on a loopback address of its own.
import { spawn, execFileSync, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  envdAccessToken,
  ENVD_VERSION,
  limits,
  newID,
  newMachineID,
  type Order,
  type OrderReply,
  ports,
  silentLog,
  type Statement,
  subjects,
} from '@lelantos-ai/contract'
import { MemoryBus } from '@lelantos-ai/contract/bus-memory'
import { type Context, openContext } from '@lelantos-ai/server/context'
import { createListener } from '@lelantos-ai/server/http/listener'
import { firstKey } from '@lelantos-ai/server/keys/keys'
import { startControlPlane } from '@lelantos-ai/server/reconcilers/control-plane'
import { vi } from 'vitest'
import { startPostgres } from '../server/postgres.ts'

const installation = 'abcdef'
export const installationKey = randomBytes(32)
const workerID = newID('worker')
const buildID = newID('build')

export interface TestInstallation extends AsyncDisposable {
  readonly context: Context
  readonly port: number
  readonly url: string
  readonly key: string
  /** Ends PostgreSQL, as a crash would. */
  killStore(): void
  /** Of the next order of a verb, what the worker answers instead. */
  answerNext(verb: Order['verb'], reply: OrderReply): void
}

export async function startInstallation(): Promise<TestInstallation> {
  await using started = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'lelantos-http-'))
  started.defer(() => rm(folder, { recursive: true, force: true }))
  const daemon = join(folder, 'lelantosd')
  execFileSync(join(import.meta.dirname, '../../guest/build.sh'), [daemon], { stdio: 'pipe' })
  const postgres = started.use(await startPostgres())
  const store = started.use(await postgres.open())
  const bus = new MemoryBus()
  const context = openContext({
    store,
    bus,
    log: silentLog,
    clock: () => new Date(),
    installation,
    installationKey,
    domain: 'localhost',
  })
  started.use(await startControlPlane(context))
  const worker = new PlayedWorker(daemon)
  started.defer(() => worker.close())
  started.use(await bus.reply(subjects.order(installation, workerID), (order) => worker.act(order as Order)))
  const timer = setInterval(() => bus.publish(subjects.statement(installation), worker.statement()), 200)
  started.defer(() => clearInterval(timer))
  await vi.waitFor(() => context.workers.get(workerID, new Date()) ?? Promise.reject(new Error('not yet')), 10_000)
  const listener = await createListener({ context, host: '127.0.0.1', port: 0, version: '0.0.0-test' })
  started.defer(() => listener.close())
  const key = await firstKey(context, undefined)
  const parts = started.move()
  return {
    context,
    key,
    port: listener.port,
    url: `http://127.0.0.1:${listener.port}`,
    killStore: () => void process.kill(postgres.postgres.pid, 'SIGKILL'),
    answerNext: (verb, reply) => void worker.instead.set(verb, reply),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  }
}

interface Machine {
  readonly address: string
  readonly machineID: string
  readonly process: ChildProcess
}

class PlayedWorker {
  readonly instead = new Map<string, OrderReply>()
  readonly #daemon: string
  readonly #machines = new Map<string, Machine>()
  readonly #holdings = new Map<string, Statement['holdings'][number]>()
  readonly #outcomes = new Map<string, Promise<OrderReply>>()
  #addresses = 0

  constructor(daemon: string) {
    this.#daemon = daemon
  }

  /** The same operation again has the same outcome. */
  act(order: Order): Promise<OrderReply> {
    const outcome = this.#outcomes.get(order.operationID) ?? this.#carryOut(order)
    this.#outcomes.set(order.operationID, outcome)
    return outcome
  }

  async #carryOut(order: Order): Promise<OrderReply> {
    const instead = this.instead.get(order.verb)
    this.instead.delete(order.verb)
    if (instead !== undefined) return instead
    const { sandboxID, generation } = order
    const phase = ({ pause: 'paused', kill: 'ended', release: 'paused' } as const)[order.verb as 'pause'] ?? 'running'
    this.#holdings.set(sandboxID, { sandboxID, generation, phase })
    if (order.verb === 'deadline') return { status: 'done' }
    if (order.verb === 'create' || order.verb === 'resume') {
      const { address, machineID } = await this.#start(sandboxID)
      return { status: 'done', address, machineID }
    }
    this.#machines.get(sandboxID)?.process.kill('SIGKILL')
    this.#machines.delete(sandboxID)
    return order.verb === 'pause' ? { status: 'done', snapshotBytes: 1 } : { status: 'done' }
  }

  async #start(sandboxID: string): Promise<Machine> {
    const address = `127.${1 + (process.pid % 250)}.${(process.pid >> 8) % 250}.${++this.#addresses}`
    const child = spawn(this.#daemon, ['serve', '--listen', `${address}:${ports.envd}`], { stdio: 'ignore' })
    await vi.waitFor(() => fetch(`http://${address}:${ports.envd}/health`), 20_000)
    const init = await fetch(`http://${address}:${ports.envd}/init`, {
      method: 'POST',
      body: JSON.stringify({
        sandboxID,
        templateID: 'base',
        accessToken: envdAccessToken(installationKey, sandboxID),
        envVars: {},
        hostname: sandboxID,
        timestamp: new Date().toISOString(),
        entropy: randomBytes(32).toString('base64'),
        defaultUser: 'root',
      }),
    })
    if (init.status !== 204) throw new Error(`/init answered ${init.status}: ${await init.text()}`)
    const machine = { address, machineID: newMachineID(installation), process: child }
    this.#machines.set(sandboxID, machine)
    return machine
  }

  statement(): Statement {
    const shape = {
      cpuCount: limits.cpuCount.default,
      memoryMB: limits.memoryMB.default,
      diskSizeMB: limits.diskSizeMB,
    }
    return {
      workerID,
      hostname: 'test',
      at: new Date().toISOString(),
      bootID: 'boot',
      version: '0',
      engine: 'played',
      memory: { totalMB: 1 << 20, reservedMB: 0 },
      overheadMB: 0,
      builds: [{ buildID, name: 'base', ...shape, envdVersion: ENVD_VERSION }],
      holdings: [...this.#holdings.values()],
    }
  }

  async close(): Promise<void> {
    for (const { process: child } of this.#machines.values()) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  }
}
