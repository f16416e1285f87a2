// The verbs, against a real PostgreSQL and a scripted worker.
import { limits, type PublicState, type State } from '@lelantos-ai/contract'
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
import { afterEach, describe, expect, it } from 'vitest'
import { lines, type Plane, refusal, SOON_MS, startPlane, until } from './plane.ts'
import { withStore } from './postgres.ts'
import { fails, hangs } from './scripted-worker.ts'

let store: Store
withStore((opened) => (store = opened))

let plane: Plane | undefined
const start = async (options: Parameters<typeof startPlane>[1] = {}) => (plane = await startPlane(store, options))
afterEach(async () => {
  await plane?.[Symbol.asyncDispose]()
  plane = undefined
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
    // A report of the pause that is dealt with just now would settle the state that is written below.
    plane.worker.reports = false
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
