// Storms: many clients at once, over a bus that drops, doubles and delays messages. Whatever happens, each sandbox's
// history must be one that the lifecycle table allows, nothing may be stuck, and store and worker must agree in the end.
import { MemoryBus } from '@lelantos-ai/contract/bus-memory'
import { hasEnded, moves, Refused, type State, states } from '@lelantos-ai/contract'
import { startControlPlane } from '@lelantos-ai/server/reconcilers/control-plane'
import { createSandbox } from '@lelantos-ai/server/sandboxes/create'
import { killSandbox } from '@lelantos-ai/server/sandboxes/kill'
import { pauseSandbox } from '@lelantos-ai/server/sandboxes/pause'
import { resumeSandbox } from '@lelantos-ai/server/sandboxes/resume'
import { setTimeout as setSandboxTimeout } from '@lelantos-ai/server/sandboxes/timeout'
import type { Store } from '@lelantos-ai/server/store/store'
import { sql } from 'kysely'
import { afterEach, expect, it } from 'vitest'
import { type Plane, SOON_MS, startPlane, testContext, until } from './plane.ts'
import { withStore } from './postgres.ts'

let store: Store
withStore((opened) => (store = opened))
let plane: Plane | undefined
afterEach(async () => plane?.[Symbol.asyncDispose]())

/** Seeded (mulberry32), so that a storm is nearly the same each time; the interleaving is the machine's. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

type Rule = { from: readonly State[]; to: State; event?: string }
const rules: Rule[] = Object.values(moves)

/** The states a sandbox may be in after these events: the table, read as an automaton whose silent moves are free. */
function possibleAfter(events: readonly string[]): Set<State> {
  const silently = (from: Set<State>) => {
    const reached = new Set(from)
    for (let n = 0; n < states.length; n++)
      for (const { from: starts, to, event } of rules)
        if (event === undefined && starts.some((state) => reached.has(state))) reached.add(to)
    return reached
  }
  let possible = silently(new Set(['creating']))
  for (const name of events.slice(1)) {
    const next = rules.filter(({ event, from }) => event === name && from.some((state) => possible.has(state)))
    possible = silently(new Set(next.map(({ to }) => to)))
  }
  return possible
}

it('the automaton refuses histories that the table does not allow', () => {
  expect([...possibleAfter(['created', 'running', 'paused', 'resumed', 'killed'])]).toEqual(['killed'])
  expect(possibleAfter(['created', 'paused']).size).toBe(0)
  expect(possibleAfter(['created', 'running', 'killed', 'running']).size).toBe(0)
  expect(possibleAfter(['created', 'running', 'running']).size).toBe(0)
})

async function expectLegalHistories(): Promise<void> {
  const { rows } = await sql<{ sandbox_id: string; state: State; events: string[]; sequences: number[] }>`
    select s.sandbox_id, s.state, array_agg(e.name order by e.sequence) as events,
      array_agg(e.sequence order by e.sequence) as sequences
    from sandboxes s join events e using (sandbox_id) group by s.sandbox_id, s.state`.execute(store.db)
  for (const { sandbox_id, state, events, sequences } of rows) {
    expect(events[0]).toBe('created')
    expect([sandbox_id, sequences]).toEqual([sandbox_id, events.map((_, index) => index + 1)])
    expect([sandbox_id, events, [...possibleAfter(events)]]).toEqual([
      sandbox_id,
      events,
      expect.arrayContaining([state]),
    ])
  }
}

/** Everything is settled, and the worker holds exactly what the store says is live. */
async function expectAgreement(plane: Plane): Promise<void> {
  const live = async () =>
    (await sql<{ sandbox_id: string; state: State }>`select sandbox_id, state from sandboxes`.execute(store.db)).rows
  await until(
    'everything is settled',
    async () => {
      const { rows } = await sql<{ n: string }>`select count(*) as n from orders where settled_at is null`.execute(
        store.db,
      )
      const still = (await live()).filter(({ state }) => !['running', 'paused', 'killed', 'stopped'].includes(state))
      return rows[0]?.n === '0' && still.length === 0
    },
    6 * SOON_MS,
  )
  const wanted = (await live()).filter(({ state }) => !hasEnded(state))
  const held = [...plane.worker.machines].map(([sandboxID, { phase }]) => ({ sandbox_id: sandboxID, state: phase }))
  expect(held).toHaveLength(wanted.length)
  expect(held).toEqual(expect.arrayContaining(wanted))
}

it.each([1, 2, 3])('eight clients over a bad bus end in legal histories (seed %i)', async (seed) => {
  const dice = random(seed)
  const bus = new MemoryBus()
  plane = await startPlane(store, { bus, takes: () => dice() * 40, requestMs: 150 })
  const { context, caller } = plane
  bus.disturb({
    copies: () => (dice() < 0.15 ? 0 : dice() < 0.3 ? 2 : 1),
    delayMs: () => (dice() < 0.3 ? dice() * 120 : 0),
    losesReply: () => dice() < 0.15,
  })
  const sandboxes: string[] = []
  const allowed = new Set([
    'sandbox_moving',
    'sandbox_not_found',
    'already_paused',
    'not_paused',
    'sandbox_not_running',
    'capacity_unavailable',
    'create_failed',
  ])
  const client = async () => {
    for (let n = 0; n < 12; n++) {
      const sandboxID = sandboxes[Math.floor(dice() * sandboxes.length)]
      const turn = dice()
      try {
        if (sandboxID === undefined || turn < 0.2)
          sandboxes.push(
            (
              await createSandbox(context, caller, {
                template: 'base',
                timeoutSeconds: 600,
                metadata: {},
                envVars: { A: 'b' },
              })
            ).sandboxID,
          )
        else if (turn < 0.5) await pauseSandbox(context, caller, sandboxID)
        else if (turn < 0.8) await resumeSandbox(context, caller, sandboxID)
        else if (turn < 0.92) await setSandboxTimeout(context, caller, sandboxID, 1 + Math.floor(dice() * 1000))
        else await killSandbox(context, caller, sandboxID)
      } catch (error) {
        if (!(error instanceof Refused) || !allowed.has(error.refusal.error)) throw error
      }
    }
  }
  await Promise.all(Array.from({ length: 8 }, client))
  await expectAgreement(plane)
  bus.disturb(undefined)
  await expectLegalHistories()
  const { rows } = await sql<{ args: string }>`select args::text from orders`.execute(store.db)
  expect(rows.filter(({ args }) => args.includes('environment'))).toEqual([])
})

it('two servers share the work: a move by one is settled by the other', async () => {
  plane = await startPlane(store, { takes: () => 20 })
  const second = testContext(store, { bus: plane.bus })
  await using _loops = await startControlPlane(second)
  plane.worker.state()
  await until('the second server knows the worker', () => second.workers.list(new Date()).length === 1)
  const wanted = { template: 'base', timeoutSeconds: 60, metadata: {}, envVars: {} }
  const { caller } = plane
  const made = await Promise.all(
    [plane.context, second, plane.context, second].map((context) => createSandbox(context, caller, wanted)),
  )
  await Promise.all(made.map(({ sandboxID }, n) => pauseSandbox(n % 2 ? second : context(), caller, sandboxID)))
  await Promise.all(made.map(({ sandboxID }, n) => resumeSandbox(n % 2 ? context() : second, caller, sandboxID)))
  await Promise.all(made.map(({ sandboxID }) => killSandbox(second, caller, sandboxID)))
  await expectAgreement(plane)
  await expectLegalHistories()
  function context() {
    if (plane === undefined) throw new Error('no plane')
    return plane.context
  }
})

it('a server that dies between commit and dispatch loses nothing', async () => {
  const bus = new MemoryBus()
  plane = await startPlane(store, { bus, loops: 'rest' })
  const { context, caller, worker } = plane
  const known = await startControlPlane(context)
  worker.state()
  await until('the worker is connected', () => context.workers.list(new Date()).length === 1)
  const { sandboxID } = await plane.create()
  await known[Symbol.asyncDispose]()
  // Nothing sends: the order stays in the outbox, as if the process had died right after the commit.
  const pausing = pauseSandbox(context, caller, sandboxID).catch((error: unknown) => error)
  await until('it is pausing', async () => (await plane?.read(sandboxID))?.state === 'pausing')
  expect(worker.received.map(({ verb }) => verb)).toEqual(['create'])
  const second = testContext(store, { bus })
  await using _loops = await startControlPlane(second)
  await until('the new server has paused it', async () => (await plane?.read(sandboxID))?.state === 'paused')
  expect(await pausing).toMatchObject({ state: 'paused' })
  await expectLegalHistories()
})

it('a server that dies while the worker acts loses nothing', async () => {
  const bus = new MemoryBus()
  plane = await startPlane(store, { bus, loops: 'rest', takes: () => 300 })
  const { context, worker } = plane
  worker.reports = false
  const known = await startControlPlane(context)
  worker.state()
  await until('the worker is connected', () => context.workers.list(new Date()).length === 1)
  const creating = plane.create().catch((error: unknown) => error)
  await until('the worker acts', () => worker.received.length > 0)
  await known[Symbol.asyncDispose]()
  await using _loops = await startControlPlane(testContext(store, { bus }))
  expect(await creating).toMatchObject({ state: 'running' })
  expect(worker.machines.size).toBe(1)
  expect(new Set(worker.received.map(({ operationID }) => operationID)).size).toBe(1)
})

it('shows what a create costs beyond the worker', async () => {
  plane = await startPlane(store)
  await plane.create()
  const times: number[] = []
  for (let n = 0; n < 50; n++) {
    const started = performance.now()
    await plane.create()
    times.push(performance.now() - started)
  }
  times.sort((left, right) => left - right)
  console.log(
    `create, worker takes 0 ms: median ${times[25]?.toFixed(1)} ms, 90th percentile ${times[45]?.toFixed(1)} ms`,
  )
  expect(times[25]).toBeLessThan(200)
})
