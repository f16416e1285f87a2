// A control plane under test: a real store, the in-process bus, scripted workers, and a caller.
import { MemoryBus } from '@lelantos-ai/contract/bus-memory'
import { type Log, newID, silentLog } from '@lelantos-ai/contract'
import { type Context, openContext } from '@lelantos-ai/server/context'
import { startControlPlane } from '@lelantos-ai/server/reconcilers/control-plane'
import type { Caller, NewSandbox, Sandbox } from '@lelantos-ai/server/sandboxes/sandbox'
import { sandboxLogs } from '@lelantos-ai/server/sandboxes/logs'
import { readSandbox } from '@lelantos-ai/server/store/sandboxes'
import { teamNamed } from '@lelantos-ai/server/store/keys'
import type { Store } from '@lelantos-ai/server/store/store'
import { createSandbox } from '@lelantos-ai/server/sandboxes/create'
import { sql } from 'kysely'
import { ScriptedWorker } from './scripted-worker.ts'

const installation = 'abcdef'
export const installationKey = new Uint8Array(32).fill(7)
/** Ten times what a calm machine needs for anything here. */
export const SOON_MS = 10_000

export async function emptyStore({ db }: Store): Promise<void> {
  await sql`truncate teams, api_keys, templates, builds, workers, sandboxes, snapshots, events, orders, idempotency_keys`.execute(
    db,
  )
}

export interface Plane extends AsyncDisposable {
  readonly context: Context
  readonly bus: MemoryBus
  readonly caller: Caller
  readonly worker: ScriptedWorker
  readonly workers: readonly ScriptedWorker[]
  create(wanted?: Partial<NewSandbox>): Promise<Sandbox>
  read(sandboxID: string): Promise<Sandbox>
  /** Another team's caller. */
  stranger(): Promise<Caller>
}

export interface PlaneOptions {
  readonly workers?: number
  readonly totalMB?: number
  readonly takes?: () => number
  readonly requestMs?: number
  readonly bus?: MemoryBus
  readonly clock?: () => Date
  readonly log?: Log
  /** Without its loops nothing is sent or settled. */
  readonly loops?: 'run' | 'rest'
}

export function testContext(store: Store, options: PlaneOptions & { bus: MemoryBus }): Context {
  const clock = options.clock ?? (() => new Date())
  return openContext({
    store,
    bus: options.bus,
    log: options.log ?? silentLog,
    clock,
    installation,
    installationKey,
    domain: 'localhost',
  })
}

export async function startPlane(store: Store, options: PlaneOptions = {}): Promise<Plane> {
  await using started = new AsyncDisposableStack()
  await emptyStore(store)
  const bus = options.bus ?? new MemoryBus()
  const context = testContext(store, { ...options, bus })
  const teamID = await teamNamed(store, { teamID: newID('team'), name: 'one' }, new Date())
  if (options.loops !== 'rest')
    started.use(
      await startControlPlane(context, options.requestMs === undefined ? {} : { requestMs: options.requestMs }),
    )
  const buildID = newID('build')
  const workers: ScriptedWorker[] = []
  for (let n = 0; n < (options.workers ?? 1); n++) {
    const worker = new ScriptedWorker({
      bus,
      installation,
      buildID,
      ...(options.totalMB === undefined ? {} : { totalMB: options.totalMB }),
      ...(options.takes === undefined ? {} : { takes: options.takes }),
    })
    workers.push(started.use(await worker.start()))
  }
  if (options.loops !== 'rest')
    await until('the workers are connected', () => context.workers.list(context.clock()).length === workers.length)
  const caller = { teamID, keyID: newID('key') }
  const parts = started.move()
  return {
    context,
    bus,
    caller,
    workers,
    get worker() {
      const [first] = workers
      if (first === undefined) throw new Error('this plane has no worker')
      return first
    },
    create: (wanted) =>
      createSandbox(context, caller, { template: 'base', timeoutSeconds: 600, metadata: {}, envVars: {}, ...wanted }),
    read: async (sandboxID) => {
      const sandbox = await readSandbox(store, sandboxID)
      if (sandbox === undefined) throw new Error(`no row of ${sandboxID}`)
      return sandbox
    },
    stranger: async () => ({
      teamID: await teamNamed(store, { teamID: newID('team'), name: 'two' }, new Date()),
      keyID: newID('key'),
    }),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  }
}

/** The lifecycle events of a sandbox, as its caller reads them. */
export async function lines({ context, caller }: Plane, sandboxID: string): Promise<string[]> {
  const logged = await sandboxLogs(context, caller, sandboxID, { start: 0, limit: 100 })
  return logged.map(({ line }) => line.replace('sandbox.lifecycle.', ''))
}

/** Waits for a predicate; fails, saying what was waited for, after `deadlineMs`. */
export async function until(
  what: string,
  predicate: () => boolean | Promise<boolean>,
  deadlineMs = SOON_MS,
): Promise<void> {
  const started = performance.now()
  while (!(await predicate())) {
    if (performance.now() - started > deadlineMs) throw new Error(`after ${deadlineMs} ms still not: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** The word of a refusal. */
export async function refusal(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
  } catch (error) {
    const { refusal: said } = error as { refusal?: { error: string } }
    if (said !== undefined) return said.error
    throw error
  }
  return 'none'
}
