// A PostgreSQL that is there and does not answer, as a stopped process, a hung disk or a partitioned host is.
import { readFileSync, readdirSync } from 'node:fs'
import { hasEnded, type State } from '@lelantos-ai/contract'
import { createSandbox } from '@lelantos-ai/server/sandboxes/create'
import { isStoreAway } from '@lelantos-ai/server/store/away'
import type { Store } from '@lelantos-ai/server/store/store'
import { sql } from 'kysely'
import { expect, it } from 'vitest'
import { startPlane, until } from './plane.ts'
import { type TestPostgres, withStore } from './postgres.ts'

let store: Store
let postgres: TestPostgres['postgres']
withStore((opened, started) => {
  store = opened
  postgres = started.postgres
})

/** Stops PostgreSQL with all of its sessions, until disposed. */
function freeze(): Disposable {
  const pids = [postgres.pid, ...childrenOf(postgres.pid)]
  for (const pid of pids) process.kill(pid, 'SIGSTOP')
  return {
    [Symbol.dispose]: () => {
      for (const pid of pids.toReversed()) process.kill(pid, 'SIGCONT')
    },
  }
}

function childrenOf(parent: number): number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return pids.map(Number).filter((pid) => {
    try {
      return (
        Number(
          readFileSync(`/proc/${pid}/stat`, 'utf8')
            .replace(/^.*\) . /s, '')
            .split(' ')[0],
        ) === parent
      )
    } catch {
      return false // it has ended
    }
  })
}

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => 'success',
    (error: unknown) => (isStoreAway(error) ? 'away' : error),
  )

it('is away within 2 s, for everyone at once, and is back when it answers', async () => {
  const ask = () => sql`select 1`.execute(store.db)
  // More than there are connections: the others wait for one.
  const all = () => Promise.all(Array.from({ length: 40 }, () => failure(ask())))
  await all()
  {
    using _frozen = freeze()
    const began = performance.now()
    expect(new Set(await all())).toEqual(new Set(['away']))
    expect(performance.now() - began).toBeLessThan(2000)
    expect(await failure(ask())).toBe('away')
  }
  await until('it answers again', async () => (await failure(ask())) === 'success')
  expect(new Set(await all())).toEqual(new Set(['success']))
})

it('in the middle of a transaction ends that too', async () => {
  let began = Infinity
  const frozen = new DisposableStack()
  const torn = store.db.transaction().execute(async (transaction) => {
    await sql`create table torn (n integer)`.execute(transaction)
    frozen.use(freeze())
    began = performance.now()
    await sql`insert into torn values (1)`.execute(transaction)
  })
  expect(await failure(torn)).toBe('away')
  expect(performance.now() - began).toBeLessThan(2000)
  frozen.dispose()
  await until('it answers again', async () => (await failure(sql`select 1`.execute(store.db))) === 'success')
  expect(await failure(sql`select * from torn`.execute(store.db))).not.toBe('success')
})

it('leaves no sandbox of a create that waits for its worker meanwhile', async () => {
  await using plane = await startPlane(store)
  const frozen = new DisposableStack()
  plane.worker.script = () => {
    if (!frozen.disposed) frozen.use(freeze())
    return undefined
  }
  expect(await failure(plane.create())).toBe('away')
  frozen.dispose()
  await until('it is ended', async () => {
    const found = await sql<{ state: State }>`select state from sandboxes`.execute(store.db).catch(() => ({ rows: [] }))
    return found.rows.length === 1 && found.rows.every(({ state }) => hasEnded(state))
  })
})

it('leaves no sandbox of a create that it did not answer', async () => {
  await using plane = await startPlane(store)
  const frozen = new DisposableStack()
  // The clock is read between the last query before the insert and the insert.
  const clock = () => {
    if (!frozen.disposed && began === Infinity) {
      frozen.use(freeze())
      began = performance.now()
    }
    return new Date()
  }
  let began = Infinity
  const wanted = { template: 'base', timeoutSeconds: 600, metadata: {}, envVars: {} }
  expect(await failure(createSandbox({ ...plane.context, clock }, plane.caller, wanted))).toBe('away')
  expect(performance.now() - began).toBeLessThan(2000)
  frozen.dispose()
  await until('the insert is made after all, and ended', async () => {
    const found = await sql<{ state: State }>`select state from sandboxes`.execute(store.db).catch(() => ({ rows: [] }))
    return found.rows.length === 1 && found.rows.every(({ state }) => hasEnded(state))
  })
})
