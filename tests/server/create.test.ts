// Creating sandboxes, against a real PostgreSQL and scripted workers: placement, refusals, secrets, repetition.
import { limits, type State, unseal } from '@lelantos-ai/contract'
import { createSandbox } from '@lelantos-ai/server/sandboxes/create'
import type { Store } from '@lelantos-ai/server/store/store'
import { sql } from 'kysely'
import { afterEach, describe, expect, it } from 'vitest'
import { installationKey, lines, type Plane, refusal, startPlane } from './plane.ts'
import { withStore } from './postgres.ts'
import { fails } from './scripted-worker.ts'

let store: Store
withStore((opened) => (store = opened))

let plane: Plane | undefined
const start = async (options: Parameters<typeof startPlane>[1] = {}) => (plane = await startPlane(store, options))
afterEach(async () => {
  await plane?.[Symbol.asyncDispose]()
  plane = undefined
})

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
    const asked = plane.workers.flatMap(({ received }) => received.map(({ generation }) => generation))
    expect(asked.toSorted((left, right) => left - right)).toEqual([1, 2, 3])
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
