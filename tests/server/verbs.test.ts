// The verbs, against a real PostgreSQL and a scripted worker.
import { limits, type Outcome, type Order, type PublicState, type State, unseal } from '@lelantos-ai/contract'
import { connectSandbox } from '@lelantos-ai/server/sandboxes/connect'
import { getSandbox } from '@lelantos-ai/server/sandboxes/get'
import { killSandbox } from '@lelantos-ai/server/sandboxes/kill'
import { listSandboxes } from '@lelantos-ai/server/sandboxes/list'
import { sandboxLogs } from '@lelantos-ai/server/sandboxes/logs'
import { pauseSandbox } from '@lelantos-ai/server/sandboxes/pause'
import { resumeSandbox } from '@lelantos-ai/server/sandboxes/resume'
import { routeTo, watchRoutes } from '@lelantos-ai/server/sandboxes/route'
import { refreshSandbox, setTimeout as setSandboxTimeout } from '@lelantos-ai/server/sandboxes/timeout'
import type { Store } from '@lelantos-ai/server/store/store'
import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { installationKey, type Plane, refusal, SOON_MS, startPlane, until } from './plane.ts'
import { startPostgres, type TestPostgres } from './postgres.ts'

let postgres: TestPostgres
let store: Store
beforeAll(async () => {
  postgres = await startPostgres()
  store = await postgres.open()
})
afterAll(async () => {
  await store[Symbol.asyncDispose]()
  await postgres[Symbol.asyncDispose]()
})

let plane: Plane | undefined
const start = async (options: Parameters<typeof startPlane>[1] = {}) => (plane = await startPlane(store, options))
afterEach(async () => {
  await plane?.[Symbol.asyncDispose]()
  plane = undefined
})

const fails = (code: string) => (): Outcome => ({ status: 'failed', code, message: `it was ${code}` }) as Outcome
/** The worker takes the orders of this verb and never ends them. */
const hangs = (verb: string) => (order: Order) => (order.verb === verb ? new Promise<Outcome>(() => {}) : undefined)
const lines = async ({ context, caller }: Plane, sandboxID: string) =>
  (await sandboxLogs(context, caller, sandboxID, { start: 0, limit: 100 })).map(({ line }) =>
    line.replace('sandbox.lifecycle.', ''),
  )

describe('create', () => {
  it('runs when it answers, and says so in its log', async () => {
    const plane = await start()
    const sandbox = await plane.create({ metadata: { user: 'u1' } })
    expect(sandbox).toMatchObject({
      state: 'running',
      address: '10.1.2.3',
      alias: 'base',
      memoryMB: 512,
      generation: 1,
    })
    expect(sandbox.endAt?.getTime()).toBe(sandbox.createdAt.getTime() + 600_000)
    expect(await lines(plane, sandbox.sandboxID)).toEqual(['created', 'running'])
    expect((await plane.create({ timeoutSeconds: 0 })).endAt).toBe(null)
  })

  it('seals the environment, and wipes it when the worker has it', async () => {
    const plane = await start()
    const { sandboxID } = await plane.create({ envVars: { TOKEN: 'hunter2' } })
    const [order] = plane.worker.received
    if (order?.verb !== 'create') throw new Error('the worker got no create')
    expect(JSON.parse(unseal(installationKey, sandboxID, order.args.environment))).toEqual({ TOKEN: 'hunter2' })
    const { rows } = await sql<{ args: object; settled_at: Date }>`select * from orders`.execute(store.db)
    expect(rows[0]?.settled_at).toBeInstanceOf(Date)
    expect(rows[0]?.args).not.toHaveProperty('environment')
    const { rows: everything } = await sql<{ text: string }>`select s::text as text from sandboxes s`.execute(store.db)
    expect(JSON.stringify(everything)).not.toContain('hunter2')
  })

  it('is refused for a template that is not there', async () => {
    const plane = await start()
    expect(await refusal(plane.create({ template: 'none' }))).toBe('template_not_found')
  })

  it('is refused within 2 s when no worker is connected', async () => {
    const plane = await start()
    await plane.worker[Symbol.asyncDispose]()
    const later = { ...plane.context, clock: () => new Date(Date.now() + limits.workerSilentMs + 1000) }
    const { createSandbox } = await import('@lelantos-ai/server/sandboxes/create')
    const wanted = { template: 'base', timeoutSeconds: 1, metadata: {}, envVars: {} }
    expect(await refusal(createSandbox(later, plane.caller, wanted))).toBe('unavailable')
  })

  it('is refused, and leaves nothing live, when the worker has gone a moment ago', async () => {
    const plane = await start()
    await plane.worker[Symbol.asyncDispose]()
    expect(await refusal(plane.create())).toBe('capacity_unavailable')
    const { rows } = await sql<{ state: State }>`select state from sandboxes`.execute(store.db)
    expect(rows).toEqual([{ state: 'killed' }])
  })

  it('is refused when no worker says it has room', async () => {
    const plane = await start({ totalMB: 511 })
    expect(await refusal(plane.create())).toBe('capacity_unavailable')
    const { rows } = await sql`select 1 from sandboxes`.execute(store.db)
    expect(rows).toEqual([])
  })

  it.each([
    ['full', 'capacity_unavailable'],
    ['disk_full', 'disk_full'],
  ])('goes to three workers that are %s, then is %s', async (code, error) => {
    const plane = await start({ workers: 4 })
    for (const worker of plane.workers) worker.script = fails(code)
    expect(await refusal(plane.create())).toBe(error)
    const asked = plane.workers.flatMap(({ received }) => received.map(({ generation }) => generation)).sort()
    expect(asked).toEqual([1, 2, 3])
    const { rows } = await sql<{ state: State; end_reason: string }>`select state, end_reason from sandboxes`.execute(
      store.db,
    )
    expect(rows).toEqual([{ state: 'killed', end_reason: 'error' }])
  })

  it('runs on the second worker when the first is full, its environment with it', async () => {
    const plane = await start({ workers: 2 })
    let refused = ''
    for (const worker of plane.workers)
      worker.script = () => {
        if (refused !== '') return undefined
        refused = worker.workerID
        return fails('full')()
      }
    const { sandboxID, workerID, generation } = await plane.create({ envVars: { A: '1' } })
    expect(refused).not.toBe(workerID)
    expect(generation).toBe(2)
    const [order] = plane.workers.find((worker) => worker.workerID === workerID)?.received ?? []
    if (order?.verb !== 'create') throw new Error('the worker got no create')
    expect(unseal(installationKey, sandboxID, order.args.environment)).toBe('{"A":"1"}')
  })

  it('is create_failed, with a reason and one event, when the engine fails', async () => {
    const plane = await start()
    plane.worker.script = fails('engine')
    expect(await refusal(plane.create())).toBe('create_failed')
    const { rows } = await sql<{ line: string }>`select line from events order by sequence`.execute(store.db)
    expect(rows.map(({ line }) => line)).toEqual([
      'sandbox.lifecycle.created',
      'sandbox.lifecycle.error: it was engine',
    ])
  })
})

describe('pause and resume', () => {
  it('release the machine and bring it back, with its time anew', async () => {
    const plane = await start()
    const { context, caller } = plane
    const { sandboxID } = await plane.create({ timeoutSeconds: 100 })
    const paused = await pauseSandbox(context, caller, sandboxID)
    expect(paused).toMatchObject({ state: 'paused', address: null, machineID: null })
    const { rows } = await sql<{ snapshot_id: string; bytes: string }>`select * from snapshots`.execute(store.db)
    expect(rows).toMatchObject([{ snapshot_id: paused.snapshotID, bytes: '1000000' }])
    const before = Date.now()
    const resumed = await resumeSandbox(context, caller, sandboxID)
    expect(resumed.state).toBe('running')
    expect(resumed.endAt?.getTime()).toBeGreaterThanOrEqual(before + 100_000)
    await pauseSandbox(context, caller, sandboxID)
    expect((await resumeSandbox(context, caller, sandboxID, { timeoutSeconds: 0 })).endAt).toBe(null)
    expect(await lines(plane, sandboxID)).toEqual(['created', 'running', 'paused', 'resumed', 'paused', 'resumed'])
  })

  it.each([
    ['engine', 'pause_failed'],
    ['disk_full', 'disk_full'],
  ])('a pause that fails (%s) leaves it running and its deadline told again', async (code, error) => {
    const plane = await start()
    const { context, caller, worker } = plane
    const { sandboxID, endAt } = await plane.create()
    worker.script = (order) => (order.verb === 'pause' ? fails(code)() : undefined)
    expect(await refusal(pauseSandbox(context, caller, sandboxID))).toBe(error)
    expect(await plane.read(sandboxID)).toMatchObject({ state: 'running', address: '10.1.2.3', endAt })
    await until('the deadline is told', () => worker.received.some(({ verb }) => verb === 'deadline'))
    worker.script = () => undefined
    expect((await pauseSandbox(context, caller, sandboxID)).state).toBe('paused')
  })

  it.each([
    ['engine', 'resume_failed'],
    ['full', 'capacity_unavailable'],
    ['disk_full', 'disk_full'],
  ])('a resume that fails (%s) leaves it paused', async (code, error) => {
    const plane = await start()
    const { context, caller, worker } = plane
    const { sandboxID } = await plane.create()
    const { snapshotID } = await pauseSandbox(context, caller, sandboxID)
    worker.script = fails(code)
    expect(await refusal(resumeSandbox(context, caller, sandboxID))).toBe(error)
    expect(await plane.read(sandboxID)).toMatchObject({ state: 'paused', snapshotID })
    worker.script = () => undefined
    expect((await resumeSandbox(context, caller, sandboxID)).state).toBe('running')
  })

  it('a pause of a machine that has died ends the sandbox', async () => {
    const plane = await start()
    const { sandboxID } = await plane.create()
    plane.worker.script = fails('ended')
    expect(await refusal(pauseSandbox(plane.context, plane.caller, sandboxID))).toBe('sandbox_not_found')
    expect(await plane.read(sandboxID)).toMatchObject({ state: 'killed', endReason: 'vmm_died' })
  })

  it('connect resumes what is paused and extends what runs', async () => {
    const plane = await start()
    const { context, caller } = plane
    const { sandboxID, endAt } = await plane.create()
    const shorter = await connectSandbox(context, caller, sandboxID, { timeoutSeconds: 5 })
    expect(shorter).toMatchObject({ resumed: false, sandbox: { endAt } })
    const longer = await connectSandbox(context, caller, sandboxID, { timeoutSeconds: 5000 })
    expect(longer.sandbox.endAt?.getTime()).toBeGreaterThan((endAt?.getTime() ?? 0) + 4_000_000)
    await pauseSandbox(context, caller, sandboxID)
    const both = await Promise.all([
      connectSandbox(context, caller, sandboxID).catch((error: unknown) => error),
      connectSandbox(context, caller, sandboxID).catch((error: unknown) => error),
    ])
    expect(both).toContainEqual(expect.objectContaining({ resumed: true }))
  })
})

describe('timeouts', () => {
  it('are set, extended and never shortened by a refresh; the worker learns of each', async () => {
    const plane = await start()
    const { context, caller, worker } = plane
    const { sandboxID } = await plane.create()
    const set = await setSandboxTimeout(context, caller, sandboxID, 50)
    expect((set.endAt?.getTime() ?? 0) - Date.now()).toBeLessThanOrEqual(50_000)
    expect((await refreshSandbox(context, caller, sandboxID, 10)).endAt).toEqual(set.endAt)
    const refreshed = await refreshSandbox(context, caller, sandboxID, 90)
    expect(refreshed.endAt?.getTime()).toBeGreaterThan((set.endAt?.getTime() ?? 0) + 30_000)
    expect((await setSandboxTimeout(context, caller, sandboxID, 0)).endAt).toBe(null)
    expect((await refreshSandbox(context, caller, sandboxID, 90)).endAt).toBe(null)
    await until('the worker knows', () => worker.machines.get(sandboxID)?.endAt === null)
  })

  it('of a paused sandbox take effect at its resume', async () => {
    const plane = await start()
    const { context, caller } = plane
    const { sandboxID } = await plane.create({ timeoutSeconds: 100 })
    await pauseSandbox(context, caller, sandboxID)
    await setSandboxTimeout(context, caller, sandboxID, 7)
    const { endAt } = await resumeSandbox(context, caller, sandboxID)
    expect(Math.abs((endAt?.getTime() ?? 0) - Date.now() - 7000)).toBeLessThan(SOON_MS)
    expect(endAt?.getTime()).toBeLessThanOrEqual(Date.now() + 7000)
  })

  it('are all in the end what the last of many at once has set', async () => {
    const plane = await start()
    const { context, caller, worker } = plane
    const { sandboxID } = await plane.create()
    await Promise.all([1000, 2000, 3000].map((seconds) => setSandboxTimeout(context, caller, sandboxID, seconds)))
    const { endAt } = await plane.read(sandboxID)
    await until('the worker has the last', () => worker.machines.get(sandboxID)?.endAt === endAt?.toISOString())
  })
})

describe('kill', () => {
  it('ends a running and a paused sandbox; the second one finds nothing', async () => {
    const plane = await start()
    const { context, caller } = plane
    const running = await plane.create()
    const paused = await plane.create()
    await pauseSandbox(context, caller, paused.sandboxID)
    for (const { sandboxID } of [running, paused]) {
      await killSandbox(context, caller, sandboxID)
      expect(await plane.read(sandboxID)).toMatchObject({ state: 'killed', endReason: 'api', address: null })
      expect(await refusal(killSandbox(context, caller, sandboxID))).toBe('sandbox_not_found')
    }
    expect(plane.worker.machines.size).toBe(0)
    expect((await sql`select 1 from snapshots`.execute(store.db)).rows).toEqual([])
    expect(await lines(plane, paused.sandboxID)).toEqual(['created', 'running', 'paused', 'killed'])
  })

  it.each(['create', 'pause', 'resume'] as const)('ends one whose %s hangs', async (verb) => {
    const plane = await start()
    const { context, caller, worker } = plane
    if (verb !== 'create') await plane.create()
    if (verb === 'resume') await pauseSandbox(context, caller, worker.received[0]?.sandboxID ?? '')
    worker.script = hangs(verb)
    const sandboxID = () => worker.received[0]?.sandboxID ?? ''
    const waiting =
      verb === 'create'
        ? plane.create()
        : (verb === 'pause' ? pauseSandbox : resumeSandbox)(context, caller, sandboxID())
    const refused = refusal(waiting)
    await until('the worker has it', () => worker.received.at(-1)?.verb === verb)
    await killSandbox(context, caller, sandboxID())
    expect(await refused).toBe(verb === 'create' ? 'create_failed' : 'sandbox_not_found')
    expect((await plane.read(sandboxID())).state).toBe('killed')
    expect(worker.machines.size).toBe(0)
  })

  it('answers in 5 s when the worker does not, cuts the route at once, and goes on', async () => {
    const plane = await start()
    const { context, caller, worker } = plane
    const { sandboxID } = await plane.create()
    worker.script = hangs('kill')
    const started = performance.now()
    const killing = killSandbox(context, caller, sandboxID)
    await until('the route is cut', async () => (await routeTo(context, sandboxID))?.state === 'killing')
    expect((await routeTo(context, sandboxID))?.address).toBe(null)
    await killing
    expect(performance.now() - started).toBeGreaterThan(limits.killAnswerMs - 500)
    expect((await plane.read(sandboxID)).state).toBe('killing')
    expect(await refusal(killSandbox(context, caller, sandboxID))).toBe('sandbox_not_found')
    const order = worker.received.findLast(({ verb }) => verb === 'kill')
    await worker.report(sandboxID, 2, {
      kind: 'settled',
      operationID: order?.operationID,
      outcome: { status: 'done' },
    })
    await until('it is killed', async () => (await plane.read(sandboxID)).state === 'killed')
  })
})

describe('what a state does not allow is refused by its word', () => {
  const table: Record<string, Partial<Record<'pause' | 'resume' | 'timeout' | 'kill', string>>> = {
    creating: { pause: 'sandbox_not_running', resume: 'not_paused', timeout: 'sandbox_moving' },
    running: { resume: 'not_paused' },
    pausing: { pause: 'sandbox_moving', resume: 'sandbox_moving', timeout: 'sandbox_moving' },
    paused: { pause: 'already_paused' },
    resuming: { pause: 'sandbox_moving', resume: 'sandbox_moving', timeout: 'sandbox_moving' },
    killing: {
      pause: 'sandbox_not_found',
      resume: 'sandbox_not_found',
      timeout: 'sandbox_not_found',
      kill: 'sandbox_not_found',
    },
    stopping: {
      pause: 'sandbox_not_found',
      resume: 'sandbox_not_found',
      timeout: 'sandbox_not_found',
      kill: 'sandbox_not_found',
    },
    killed: {
      pause: 'sandbox_not_found',
      resume: 'sandbox_not_found',
      timeout: 'sandbox_not_found',
      kill: 'sandbox_not_found',
    },
    stopped: {
      pause: 'sandbox_not_found',
      resume: 'sandbox_not_found',
      timeout: 'sandbox_not_found',
      kill: 'sandbox_not_found',
    },
  }
  it.each(Object.keys(table) as State[])('%s', async (state) => {
    const plane = await start()
    const { context, caller } = plane
    const { sandboxID } = await plane.create()
    await pauseSandbox(context, caller, sandboxID) // gives it a snapshot
    const moving = ['creating', 'pausing', 'resuming', 'killing', 'stopping'].includes(state)
    const ended = ['killing', 'stopping', 'killed', 'stopped'].includes(state)
    await sql`update sandboxes set state = ${state}, address = ${state === 'running' ? '10.1.2.3' : null},
      transition_deadline = ${moving ? new Date(Date.now() + 60_000) : null}::timestamptz,
      end_reason = ${ended ? 'api' : null}, ended_at = ${ended ? new Date() : null}::timestamptz`.execute(store.db)
    const verbs = {
      pause: () => pauseSandbox(context, caller, sandboxID),
      resume: () => resumeSandbox(context, caller, sandboxID),
      timeout: () => setSandboxTimeout(context, caller, sandboxID, 9),
      kill: () => killSandbox(context, caller, sandboxID),
    }
    for (const [verb, error] of Object.entries(table[state] ?? {}))
      expect([verb, await refusal(verbs[verb as keyof typeof verbs]())]).toEqual([verb, error])
    expect((await plane.read(sandboxID)).state).toBe(state)
  })
})

describe('teams', () => {
  it('see nothing of each other', async () => {
    const plane = await start()
    const { context } = plane
    const stranger = await plane.stranger()
    const { sandboxID } = await plane.create()
    const attempts = {
      get: () => getSandbox(context, stranger, sandboxID, { terminated: 'include' }),
      pause: () => pauseSandbox(context, stranger, sandboxID),
      resume: () => resumeSandbox(context, stranger, sandboxID),
      connect: () => connectSandbox(context, stranger, sandboxID),
      kill: () => killSandbox(context, stranger, sandboxID),
      timeout: () => setSandboxTimeout(context, stranger, sandboxID, 1),
      refresh: () => refreshSandbox(context, stranger, sandboxID, 1),
      logs: () => sandboxLogs(context, stranger, sandboxID, { start: 0, limit: 10 }),
    }
    for (const [verb, attempt] of Object.entries(attempts))
      expect([verb, await refusal(attempt())]).toEqual([verb, 'sandbox_not_found'])
    expect(await routeTo(context, sandboxID, stranger.teamID)).toBe(undefined)
    expect((await routeTo(context, sandboxID, plane.caller.teamID))?.address).toBe('10.1.2.3')
    const all: PublicState[] = ['created', 'running', 'paused', 'killed', 'stopped']
    expect((await listSandboxes(context, stranger, { states: all, limit: 10, order: 'desc' })).sandboxes).toEqual([])
    expect((await plane.read(sandboxID)).state).toBe('running')
  })

  it.each(['', 'sbx', 'nothing', "x'; drop table sandboxes; --", `sbx${'a'.repeat(17)}`, 'x'.repeat(5000)])(
    'hear of an id that is none as of one that is not theirs: %j',
    async (id) => {
      const plane = await start()
      const { context, caller } = plane
      expect(await refusal(getSandbox(context, caller, id, { terminated: 'include' }))).toBe('sandbox_not_found')
      expect(await refusal(killSandbox(context, caller, id))).toBe('sandbox_not_found')
      expect(await routeTo(context, id)).toBe(undefined)
    },
  )
})

describe('lists', () => {
  it('come by page in either order, by state and by metadata', async () => {
    const plane = await start()
    const { context, caller } = plane
    const made: string[] = []
    for (let n = 0; n < 5; n++)
      made.push((await plane.create({ metadata: { n: String(n), odd: String(n % 2) } })).sandboxID)
    await pauseSandbox(context, caller, made[1] ?? '')
    await killSandbox(context, caller, made[2] ?? '')
    const walk = async (order: 'asc' | 'desc', states: PublicState[], metadata?: Record<string, string>) => {
      const found: string[] = []
      let after: { createdAt: Date; sandboxID: string } | undefined
      do {
        const page = await listSandboxes(context, caller, {
          states,
          limit: 2,
          order,
          ...(metadata === undefined ? {} : { metadata }),
          ...(after === undefined ? {} : { after }),
        })
        expect(page.sandboxes.length).toBeLessThanOrEqual(2)
        found.push(...page.sandboxes.map(({ sandboxID }) => sandboxID))
        after = page.next
      } while (after !== undefined)
      return found.map((id) => made.indexOf(id))
    }
    expect(await walk('asc', ['running', 'paused'])).toEqual([0, 1, 3, 4])
    expect(await walk('desc', ['running'])).toEqual([4, 3, 0])
    expect(await walk('asc', ['killed', 'paused'])).toEqual([1, 2])
    expect(await walk('asc', ['running', 'paused'], { odd: '1' })).toEqual([1, 3])
    expect(await walk('asc', ['running', 'paused'], { odd: '1', n: '4' })).toEqual([])
    expect(await walk('asc', [])).toEqual([])
  })

  it('and details hide what has ended unless asked', async () => {
    const plane = await start()
    const { context, caller } = plane
    const { sandboxID } = await plane.create()
    await killSandbox(context, caller, sandboxID)
    expect(await refusal(getSandbox(context, caller, sandboxID, { terminated: 'hide' }))).toBe('sandbox_not_found')
    expect(await getSandbox(context, caller, sandboxID, { terminated: 'include' })).toMatchObject({ endReason: 'api' })
    const page = await sandboxLogs(context, caller, sandboxID, { start: 1, limit: 1 })
    expect(page.map(({ line }) => line)).toEqual(['sandbox.lifecycle.running'])
  })
})

describe('routes', () => {
  it('are told at once by a move here, and cost less than 0.1 ms from memory', async () => {
    const plane = await start()
    const { context, caller } = plane
    const { sandboxID } = await plane.create()
    const seen: State[] = []
    using _watch = watchRoutes(context, ({ state }) => seen.push(state))
    await routeTo(context, sandboxID)
    const started = performance.now()
    for (let n = 0; n < 1000; n++) void routeTo(context, sandboxID, caller.teamID)
    expect((performance.now() - started) / 1000).toBeLessThan(0.1)
    await pauseSandbox(context, caller, sandboxID)
    expect(routeTo(context, sandboxID)).toMatchObject({ state: 'paused', address: null })
    expect(seen).toEqual(['pausing', 'paused'])
  })

  it('see what another server has done within a second', async () => {
    const plane = await start()
    const { sandboxID } = await plane.create()
    expect((await routeTo(plane.context, sandboxID))?.state).toBe('running')
    await sql`update sandboxes set address = '10.9.9.9'`.execute(store.db)
    await until('it is seen', async () => (await routeTo(plane.context, sandboxID))?.address === '10.9.9.9')
  })
})

describe('idempotent creates', () => {
  const key = { key: 'k1', bodyHash: 'h1' }

  it('get the same sandbox, in flight and later; another body is refused, another team is not concerned', async () => {
    const plane = await start({ takes: () => 50 })
    const many = await Promise.all(Array.from({ length: 6 }, () => plane.create({ idempotency: key })))
    const ids = new Set(many.map(({ sandboxID }) => sandboxID))
    expect(ids.size).toBe(1)
    expect(many.every(({ state }) => state === 'running')).toBe(true)
    expect((await plane.create({ idempotency: key })).sandboxID).toBe(many[0]?.sandboxID)
    expect(plane.worker.machines.size).toBe(1)
    expect(await refusal(plane.create({ idempotency: { ...key, bodyHash: 'h2' } }))).toBe('idempotency_mismatch')
    const { createSandbox } = await import('@lelantos-ai/server/sandboxes/create')
    const wanted = { template: 'base', timeoutSeconds: 60, metadata: {}, envVars: {}, idempotency: key }
    const other = await createSandbox(plane.context, await plane.stranger(), wanted)
    expect(ids.has(other.sandboxID)).toBe(false)
  })

  it('run anew after a failure, and after a day', async () => {
    const plane = await start()
    plane.worker.script = fails('engine')
    expect(await refusal(plane.create({ idempotency: key }))).toBe('create_failed')
    plane.worker.script = () => undefined
    const [first, second] = await Promise.all([plane.create({ idempotency: key }), plane.create({ idempotency: key })])
    expect(first.sandboxID).toBe(second.sandboxID)
    await sql`update idempotency_keys set expires_at = now()`.execute(store.db)
    expect((await plane.create({ idempotency: { ...key, bodyHash: 'h2' } })).sandboxID).not.toBe(first.sandboxID)
  })
})
