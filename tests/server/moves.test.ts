// The lifecycle table against a real PostgreSQL: every move from every state, in the store's own guard.
import { type MoveName, moves, newID, type State, states } from '@lelantos-ai/contract'
import { move, type Move } from '@lelantos-ai/server/store/moves'
import { pageOfEvents } from '@lelantos-ai/server/store/events'
import type { Store } from '@lelantos-ai/server/store/store'
import { sql } from 'kysely'
import { beforeEach, describe, expect, it } from 'vitest'
import { emptyStore } from './plane.ts'
import { type TestPostgres, withStore } from './postgres.ts'

let postgres: TestPostgres
let store: Store
withStore((...opened) => ([store, postgres] = opened))

const team = { teamID: newID('team'), other: newID('team') }
const template = newID('template')
const build = newID('build')
beforeEach(async () => {
  await emptyStore(store)
  await sql`insert into teams values (${team.teamID}, 'a', now()), (${team.other}, 'b', now())`.execute(store.db)
  await sql`insert into templates values (${template}, null, 'base', now(), now())`.execute(store.db)
  await sql`insert into builds values (${build}, ${template}, 2, 512, 20480, '0.5.7', now())`.execute(store.db)
})

/** A sandbox in that very state, with an order under way. */
async function put(state: State): Promise<string> {
  const sandboxID = newID('sandbox')
  const ended = ['killing', 'stopping', 'killed', 'stopped'].includes(state)
  const moving = ['creating', 'pausing', 'resuming', 'killing', 'stopping'].includes(state)
  await store.db
    .insertInto('sandboxes')
    .values({
      sandbox_id: sandboxID,
      team_id: team.teamID,
      template_id: template,
      build_id: build,
      alias: 'base',
      state,
      generation: 4,
      machine_generation: 1,
      worker_id: newID('worker'),
      boot_id: 'boot',
      machine_id: null,
      address: state === 'running' || state === 'pausing' ? '10.1.2.3' : null,
      snapshot_id: state === 'paused' || state === 'resuming' ? newID('snapshot') : null,
      created_at: new Date(),
      started_at: null,
      moved_at: new Date(),
      transition_deadline: moving ? new Date() : null,
      end_at: new Date(),
      timeout_seconds: 60,
      cpu_count: 2,
      memory_mb: 512,
      disk_size_mb: 20_480,
      metadata: JSON.stringify({}),
      envd_version: '0.5.7',
      placements: [],
      failure: null,
      end_reason: ended ? 'api' : null,
      ended_at: ended ? new Date() : null,
    })
    .execute()
  await store.db
    .insertInto('orders')
    .values({
      operation_id: newID('operation'),
      sandbox_id: sandboxID,
      generation: 4,
      worker_id: newID('worker'),
      verb: 'deadline',
      args: JSON.stringify({ environment: 'sealed' }),
      attempts: 1,
      next_at: new Date(),
      created_at: new Date(),
      settled_at: null,
    })
    .execute()
  return sandboxID
}

/** What each move needs beyond its name. */
function request(name: MoveName, sandboxID: string): Move<MoveName> {
  const rule: { to: State; order?: string; from: readonly State[] } = moves[name]
  const ending = ['kill', 'expire', 'expiredAtWorker', 'fail'].includes(name)
  const order = { operationID: newID('operation'), args: {} }
  return {
    sandboxID,
    ...(rule.order === undefined ? {} : { order }),
    ...(ending ? { reason: 'error' } : {}),
    set: {
      ...(rule.to === 'running' ? { address: '10.1.2.3' } : {}),
      ...(rule.to === 'paused' ? { snapshot_id: newID('snapshot') } : {}),
    },
  } as unknown as Move<MoveName>
}

describe.each(Object.keys(moves) as MoveName[])('move %s', (name) => {
  const rule: { from: readonly State[]; to: State; event?: string; order?: string } = moves[name]

  it.each(states)(`from %s`, async (state) => {
    const sandboxID = await put(state)
    const before = await sql`select * from sandboxes`.execute(store.db)
    const moved = await move(store, name, request(name, sandboxID), new Date())
    const events = await pageOfEvents(store, { teamID: team.teamID, sandboxID, start: 0, limit: 10 })
    const orders = await store.db.selectFrom('orders').selectAll().orderBy('generation').execute()
    if (!rule.from.includes(state)) {
      expect(moved).toBe(undefined)
      expect(await sql`select * from sandboxes`.execute(store.db)).toEqual(before)
      expect(events).toEqual([])
      expect(orders.map((order) => order.settled_at)).toEqual([null])
      return
    }
    expect(moved?.sandbox.state).toBe(rule.to)
    expect(moved?.sandbox.generation).toBe(rule.order === undefined ? 4 : 5)
    expect(moved?.order?.verb).toBe(rule.order)
    expect(events.map(({ line }) => line)).toEqual(rule.event === undefined ? [] : [`sandbox.lifecycle.${rule.event}`])
    expect(orders).toHaveLength(rule.order === undefined ? 1 : 2)
    // What was under way is over, and its secrets are gone; but a paused sandbox's timeout touches no order.
    expect(orders[0]?.settled_at !== null).toBe(name !== 'setPausedTimeout')
    expect('environment' in (orders[0]?.args ?? {})).toBe(name === 'setPausedTimeout')
  })

  it('is not made for another team, at another generation, or twice', async () => {
    const [from] = rule.from
    if (from === undefined) throw new Error('a move starts somewhere')
    const sandboxID = await put(from)
    const asked = request(name, sandboxID)
    expect(await move(store, name, { ...asked, teamID: team.other } as typeof asked, new Date())).toBe(undefined)
    expect(await move(store, name, { ...asked, generation: 3 } as typeof asked, new Date())).toBe(undefined)
    const both = await Promise.all([
      move(store, name, { ...asked, generation: 4 } as typeof asked, new Date()),
      move(store, name, { ...request(name, sandboxID), generation: 4 } as typeof asked, new Date()),
    ])
    const stays = rule.from.includes(rule.to) && rule.order === undefined
    expect(both.filter((moved) => moved !== undefined)).toHaveLength(stays ? 2 : 1)
  })
})

it('is refused by the types when it is not in the table', () => {
  const attempt = () => {
    // @ts-expect-error there is no such move
    void move(store, 'revive', { sandboxID: '' }, new Date())
    // @ts-expect-error a pause sends an order
    void move(store, 'pause', { sandboxID: '' }, new Date())
    // @ts-expect-error a pause does not start from paused
    void move(store, 'paused', { sandboxID: '', from: ['running'] }, new Date())
    // @ts-expect-error what ends a sandbox says why
    void move(store, 'fail', { sandboxID: '' }, new Date())
    // @ts-expect-error nothing is ordered when a pause is done
    void move(store, 'paused', { sandboxID: '', order: { operationID: '', args: {} } }, new Date())
  }
  expect(attempt).toBeTypeOf('function')
})

it('applies migrations once, and refuses a database of a newer version', async () => {
  await using again = await postgres.open()
  const { rows } = await sql<{ name: string }>`select name from migrations order by name`.execute(again.db)
  expect(rows[0]?.name).toBe('0001_first.sql')
  await sql`insert into migrations (name, hash) values ('9999_later.sql', '')`.execute(store.db)
  await expect(postgres.open()).rejects.toThrow(/9999_later\.sql, which this version does not know/)
  await sql`delete from migrations where name = '9999_later.sql'`.execute(store.db)
  await sql`update migrations set hash = 'other'`.execute(store.db)
  await expect(postgres.open()).rejects.toThrow(/0001_first\.sql was changed/)
})
