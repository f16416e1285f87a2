// What happens without a caller: deadlines, overdue transitions, reports, silence, shutdown and start.
import { limits, newID, type Outcome, type State, subjects } from '@lelantos-ai/contract'
import { holdings } from '@lelantos-ai/server/reconcilers/holdings'
import { housekeeping } from '@lelantos-ai/server/reconcilers/housekeeping'
import { overdue } from '@lelantos-ai/server/reconcilers/overdue'
import { silenceOf } from '@lelantos-ai/server/reconcilers/silence'
import { killSandbox } from '@lelantos-ai/server/sandboxes/kill'
import { pauseSandbox } from '@lelantos-ai/server/sandboxes/pause'
import { resumeSandbox } from '@lelantos-ai/server/sandboxes/resume'
import { settle } from '@lelantos-ai/server/sandboxes/settle'
import { suspendAll } from '@lelantos-ai/server/sandboxes/suspend'
import { setTimeout as setSandboxTimeout } from '@lelantos-ai/server/sandboxes/timeout'
import { wakeAll } from '@lelantos-ai/server/sandboxes/wake'
import type { Store } from '@lelantos-ai/server/store/store'
import { sql } from 'kysely'
import { afterEach, describe, expect, it } from 'vitest'
import { type Plane, refusal, SOON_MS, startPlane, until } from './plane.ts'
import { withStore } from './postgres.ts'
import { hangs } from './scripted-worker.ts'

let store: Store
withStore((opened) => (store = opened))
let plane: Plane | undefined
const start = async (options: Parameters<typeof startPlane>[1] = {}) => (plane = await startPlane(store, options))
afterEach(async () => {
  await plane?.[Symbol.asyncDispose]()
  plane = undefined
})

const events = async (sandboxID: string) =>
  (
    await sql<{ line: string }>`select line from events where sandbox_id = ${sandboxID} order by sequence`.execute(
      store.db,
    )
  ).rows.map(({ line }) => line.replace('sandbox.lifecycle.', ''))
const isIn = (state: State, sandboxID: string) => async () => (await plane?.read(sandboxID))?.state === state

describe('reaper', () => {
  it('ends a sandbox when its time is over, and not before', async () => {
    const plane = await start()
    const { sandboxID, endAt } = await plane.create({ timeoutSeconds: 1 })
    const other = await plane.create({ timeoutSeconds: 0 })
    await until('it is stopped', isIn('stopped', sandboxID))
    const { endedAt, endReason } = await plane.read(sandboxID)
    const late = (endedAt?.getTime() ?? 0) - (endAt?.getTime() ?? 0)
    expect(late).toBeGreaterThanOrEqual(0)
    expect(late).toBeLessThan(10 * limits.deadlineToleranceMs)
    console.log(`the reaper was ${late} ms late`)
    expect(endReason).toBe('timeout')
    expect(await events(sandboxID)).toEqual(['created', 'running', 'stopped'])
    expect(plane.worker.machines.has(sandboxID)).toBe(false)
    expect((await plane.read(other.sandboxID)).state).toBe('running')
  })

  it('does not count paused time, and leaves a refreshed one alone', async () => {
    const plane = await start()
    const { context, caller } = plane
    const paused = await plane.create({ timeoutSeconds: 1 })
    const refreshed = await plane.create({ timeoutSeconds: 1 })
    const witness = await plane.create({ timeoutSeconds: 1 })
    await pauseSandbox(context, caller, paused.sandboxID)
    await setSandboxTimeout(context, caller, refreshed.sandboxID, 600)
    await until('the witness is stopped', isIn('stopped', witness.sandboxID))
    expect((await plane.read(paused.sandboxID)).state).toBe('paused')
    expect((await plane.read(refreshed.sandboxID)).state).toBe('running')
    await resumeSandbox(context, caller, paused.sandboxID)
    await until('it is stopped after its resume', isIn('stopped', paused.sandboxID))
  })
})

describe('overdue', () => {
  const makeOverdue = () =>
    sql`update sandboxes set transition_deadline = now() - interval '1 second' where transition_deadline is not null`.execute(
      store.db,
    )

  it.each([
    ['create', 'killed', ['created', 'killed']],
    ['pause', 'killed', ['created', 'running', 'killed']],
    ['resume', 'paused', ['created', 'running', 'paused', 'error: resuming took longer than it may']],
  ] as const)('a %s that hangs ends %s', async (verb, state, history) => {
    const plane = await start()
    const { context, caller, worker } = plane
    const { sandboxID } = verb === 'create' ? { sandboxID: '' } : await plane.create()
    if (verb === 'resume') await pauseSandbox(context, caller, sandboxID)
    worker.script = hangs(verb)
    const waiting =
      verb === 'create' ? plane.create() : (verb === 'pause' ? pauseSandbox : resumeSandbox)(context, caller, sandboxID)
    const refused = refusal(waiting)
    await until('the worker has it', () => worker.received.at(-1)?.verb === verb)
    await makeOverdue()
    await overdue.run(context)
    const id = worker.received.at(-1)?.sandboxID ?? ''
    await until(`it is ${state}`, isIn(state, id))
    expect(await events(id)).toEqual(history)
    expect(await refused).toBe(
      { create: 'create_failed', pause: 'sandbox_not_found', resume: 'operation_timeout' }[verb],
    )
    if (verb === 'resume') {
      await until('the worker let go', () => worker.received.some((order) => order.verb === 'release'))
      worker.script = () => undefined
      expect((await resumeSandbox(context, caller, id)).state).toBe('running')
    } else expect(worker.machines.size).toBe(0)
  })

  it('a kill that hangs is only repeated', async () => {
    const plane = await start()
    const { context, caller, worker } = plane
    const { sandboxID } = await plane.create()
    let refusals = 3
    worker.script = (order) =>
      order.verb === 'kill' && refusals-- > 0 ? { status: 'failed', code: 'engine', message: 'not yet' } : undefined
    // The worker remembers the failed operation, as a real one does: its roster has to be asked anew.
    const killing = killSandbox(context, caller, sandboxID)
    await until('it is tried', () => worker.received.filter(({ verb }) => verb === 'kill').length >= 2)
    await makeOverdue()
    await overdue.run(context)
    expect((await plane.read(sandboxID)).state).toBe('killing')
    await killing
  })
})

describe('reports', () => {
  it('of a machine that died end the sandbox once, with a reason', async () => {
    const plane = await start()
    const { worker } = plane
    const { sandboxID } = await plane.create()
    const died = { kind: 'ended', reason: 'vmm_died', message: 'signal 9' }
    await Promise.all([1, 2, 3].map(() => worker.report(sandboxID, 1, died)))
    expect(await plane.read(sandboxID)).toMatchObject({ state: 'killed', endReason: 'vmm_died', address: null })
    expect(await events(sandboxID)).toEqual(['created', 'running', 'error: signal 9'])
  })

  it('of an older machine, or by a worker that does not have it, change nothing', async () => {
    const plane = await start({ workers: 2 })
    const { context, caller, workers } = plane
    const { sandboxID, workerID } = await plane.create()
    const own = workers.find((worker) => worker.workerID === workerID)
    const other = workers.find((worker) => worker.workerID !== workerID)
    await pauseSandbox(context, caller, sandboxID)
    await resumeSandbox(context, caller, sandboxID)
    const died = { kind: 'ended', reason: 'vmm_died', message: 'late' }
    await own?.report(sandboxID, 2, died)
    await other?.report(sandboxID, 99, died)
    await own?.report(newID('sandbox'), 1, died)
    expect((await plane.read(sandboxID)).state).toBe('running')
    await own?.report(sandboxID, 3, died)
    expect((await plane.read(sandboxID)).state).toBe('killed')
  })

  it('of a deadline that the worker kept stop the sandbox', async () => {
    const plane = await start()
    const { sandboxID } = await plane.create()
    await plane.worker.report(sandboxID, 1, { kind: 'ended', reason: 'timeout', message: '' })
    expect(await plane.read(sandboxID)).toMatchObject({ state: 'stopped', endReason: 'timeout' })
    expect(await events(sandboxID)).toEqual(['created', 'running', 'stopped'])
  })

  it.each([
    {},
    { workerID: 'x', sandboxID: 'y', generation: 0, event: { kind: 'ended' } },
    null,
    'text',
    { sandboxID: ['a'] },
  ])('that are none are not taken: %j', async (message) => {
    const plane = await start()
    const reply = await plane.bus.request(subjects.report('abcdef'), message, { timeoutMs: 1000 })
    expect(reply).toEqual({ taken: false })
    plane.bus.publish(subjects.statement('abcdef'), message)
    expect((await plane.create()).state).toBe('running')
  })

  it('and replies that are none settle nothing', async () => {
    const plane = await start({ requestMs: 200 })
    let nonsense = 3
    const take = plane.worker.take.bind(plane.worker)
    plane.worker.take = async (message) => {
      const reply = await take(message)
      return nonsense-- > 0 ? ({ status: 'perhaps' } as never) : reply
    }
    plane.worker.reports = false
    expect((await plane.create()).state).toBe('running')
    expect(plane.worker.received.length).toBeGreaterThan(3)
  })
})

describe('outcomes', () => {
  it('of an older order, however late, change nothing', async () => {
    const plane = await start()
    const { context, caller, worker } = plane
    const { sandboxID } = await plane.create()
    await pauseSandbox(context, caller, sandboxID)
    await resumeSandbox(context, caller, sandboxID)
    const old = worker.received.filter(({ verb }) => ['create', 'pause', 'resume'].includes(verb))
    expect(old.map(({ generation }) => generation)).toEqual([1, 2, 3])
    worker.script = hangs('pause')
    const refused = refusal(pauseSandbox(context, caller, sandboxID))
    await until('it is pausing', isIn('pausing', sandboxID))
    const before = await plane.read(sandboxID)
    const outcomes: Outcome[] = [
      { status: 'done', address: '10.9.9.9', snapshotBytes: 1 },
      { status: 'failed', code: 'ended', message: 'late' },
      { status: 'failed', code: 'engine', message: 'late' },
    ]
    for (const order of old)
      for (const outcome of outcomes)
        await settle(context, { ...order, args: { ...order.args }, workerID: worker.workerID, attempts: 2 }, outcome)
    expect(await plane.read(sandboxID)).toEqual(before)
    await killSandbox(context, caller, sandboxID)
    expect(await refused).toBe('sandbox_not_found')
  })
})

describe('holdings', () => {
  const age = () => sql`update sandboxes set moved_at = now() - interval '1 minute'`.execute(store.db)

  it.each([
    ['boot-one', 'vmm_died'],
    ['boot-two', 'host_restart'],
  ])('a running sandbox that its worker (%s) does not have has ended: %s', async (bootID, reason) => {
    const plane = await start()
    const { context, worker } = plane
    const { sandboxID } = await plane.create()
    const kept = await plane.create()
    worker.machines.delete(sandboxID)
    worker.bootID = bootID
    worker.state()
    await holdings.run(context)
    expect((await plane.read(sandboxID)).state).toBe('running') // it has moved a moment ago
    await age()
    await until('it has ended', isIn('killed', sandboxID))
    expect((await plane.read(sandboxID)).endReason).toBe(reason)
    expect((await plane.read(kept.sandboxID)).state).toBe('running')
  })

  it('what a worker holds of a sandbox that has ended is removed', async () => {
    const plane = await start()
    const { worker } = plane
    const { sandboxID } = await plane.create()
    await worker.report(sandboxID, 1, { kind: 'ended', reason: 'vmm_died', message: 'it seemed so' })
    expect(worker.machines.has(sandboxID)).toBe(true)
    await age()
    await until('the worker has let it go', () => !worker.machines.has(sandboxID))
    expect((await plane.read(sandboxID)).state).toBe('killed')
    expect(await events(sandboxID)).toEqual(['created', 'running', 'error: it seemed so'])
  })
})

describe('silence', () => {
  it('of a worker ends what runs on it after five minutes, not what is paused, and not for a server just started', async () => {
    const plane = await start()
    const { context, caller, worker } = plane
    const running = await plane.create()
    const paused = await plane.create()
    await pauseSandbox(context, caller, paused.sandboxID)
    worker.fallSilent()
    const later = { ...context, clock: () => new Date(Date.now() + limits.workerLostMs + 60_000) }
    await silenceOf(later.clock()).run(later)
    expect((await plane.read(running.sandboxID)).state).toBe('running')
    await silenceOf(new Date()).run(later)
    expect(await plane.read(running.sandboxID)).toMatchObject({ state: 'killed', endReason: 'worker_lost' })
    expect((await plane.read(paused.sandboxID)).state).toBe('paused')
    expect(await refusal(resumeSandbox(later, caller, paused.sandboxID))).toBe('unavailable')
  })
})

describe('a bus that is away', () => {
  it('makes a create unavailable within 2 s, and leaves nothing live', async () => {
    const plane = await start()
    const { context, worker } = plane
    const { BusError } = await import('@lelantos-ai/contract')
    const request = plane.bus.request.bind(plane.bus)
    plane.bus.request = () => Promise.reject(new BusError('away', 'the bus is away'))
    const started = performance.now()
    expect(await refusal(plane.create())).toBe('unavailable')
    expect(performance.now() - started).toBeLessThan(5 * limits.busRequestMs)
    console.log(`unavailable after ${Math.round(performance.now() - started)} ms`)
    plane.bus.request = request
    await until('the rest is settled', async () => {
      const { rows } = await sql`select 1 from orders where settled_at is null`.execute(store.db)
      return rows.length === 0
    })
    const { rows } = await sql<{ state: State }>`select state from sandboxes`.execute(context.store.db)
    expect(rows).toEqual([{ state: 'killed' }])
    expect(worker.machines.size).toBe(0)
  })
})

describe('shutdown and start', () => {
  it('pause what runs, of every team, and resume it with the time that was left', async () => {
    const plane = await start({ takes: () => 20 })
    const { context, caller, worker } = plane
    const short = await plane.create({ timeoutSeconds: 100 })
    const endless = await plane.create({ timeoutSeconds: 0 })
    const paused = await plane.create()
    await pauseSandbox(context, caller, paused.sandboxID)
    await sql`update sandboxes set end_at = now() + interval '50 seconds' where sandbox_id = ${short.sandboxID}`.execute(
      store.db,
    )
    const seen: number[] = []
    const suspended = await suspendAll(context, {
      mode: 'pause',
      deadlineMs: SOON_MS,
      onProgress: ({ done }) => seen.push(done),
    })
    expect(suspended).toEqual({ failed: 0 })
    expect(seen).toEqual([0, 1, 2])
    expect([...worker.machines.values()].map(({ phase }) => phase)).toEqual(['paused', 'paused', 'paused'])
    expect(await wakeAll(context)).toEqual({ resumed: 2, failed: 0 })
    const woken = await plane.read(short.sandboxID)
    expect(woken).toMatchObject({ state: 'running', timeoutSeconds: 100, resumeAtStart: false })
    const left = (woken.endAt?.getTime() ?? 0) - Date.now()
    expect(left).toBeGreaterThan(30_000)
    expect(left).toBeLessThanOrEqual(50_000)
    expect(await plane.read(endless.sandboxID)).toMatchObject({ state: 'running', endAt: null })
    expect((await plane.read(paused.sandboxID)).state).toBe('paused')
    expect(await wakeAll(context)).toEqual({ resumed: 0, failed: 0 })
  })

  it('wait for the worker, and count what cannot be paused or resumed', async () => {
    const plane = await start()
    const { context, worker } = plane
    await plane.create()
    const second = await plane.create()
    worker.script = (order) =>
      order.sandboxID === second.sandboxID && order.verb === 'pause'
        ? { status: 'failed', code: 'disk_full', message: 'no room' }
        : undefined
    expect(await suspendAll(context, { mode: 'pause', deadlineMs: SOON_MS })).toEqual({ failed: 1 })
    worker.script = hangs('pause')
    expect(await suspendAll(context, { mode: 'pause', deadlineMs: 300 })).toEqual({ failed: 1 })
    worker.script = (order) =>
      order.verb === 'resume' ? { status: 'failed', code: 'snapshot_damaged', message: 'bits' } : undefined
    const awake = { ...context, workers: new (Object.getPrototypeOf(context.workers).constructor)() }
    expect(await wakeAll(awake, { deadlineMs: 100 })).toEqual({ resumed: 0, failed: 2 })
  })

  it('can end what runs instead', async () => {
    const plane = await start()
    const { context, caller } = plane
    const running = await plane.create()
    const paused = await plane.create()
    await pauseSandbox(context, caller, paused.sandboxID)
    expect(await suspendAll(context, { mode: 'kill', deadlineMs: SOON_MS })).toEqual({ failed: 0 })
    expect((await plane.read(running.sandboxID)).state).toBe('killed')
    expect((await plane.read(paused.sandboxID)).state).toBe('paused')
  })
})

describe('housekeeping', () => {
  it('forgets expired keys and old orders, and makes the months of events', async () => {
    const plane = await start()
    await plane.create({ idempotency: { key: 'k', bodyHash: 'h' } })
    const later = { ...plane.context, clock: () => new Date(Date.now() + 25 * 3_600_000) }
    await housekeeping.run(later)
    await housekeeping.run(later)
    expect((await sql`select 1 from idempotency_keys`.execute(store.db)).rows).toEqual([])
    expect((await sql`select 1 from orders`.execute(store.db)).rows).toEqual([])
    const month = new Date().toISOString().slice(0, 7).replace('-', '_')
    const { rows } = await sql<{ n: string }>`select tableoid::regclass::text as n from events`.execute(store.db)
    expect(new Set(rows.map(({ n }) => n))).toEqual(new Set([`events_${month}`]))
  })
})
