// The installation's own PostgreSQL: made, killed, left behind, and what is committed survives.
import { setTimeout as pause } from 'node:timers/promises'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { silentLog } from '@lelantos-ai/contract'
import { startPrivatePostgres } from '@lelantos-ai/daemon/adapters/private-postgres'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeFolder, user } from './postgres.ts'

let parts: AsyncDisposableStack
let folder: string
beforeEach(async () => {
  parts = new AsyncDisposableStack()
  const root = parts.use(await makeFolder())
  folder = join(root.path, 'pg')
})
afterEach(() => parts.disposeAsync())

const start = async () => {
  const postgres = await startPrivatePostgres({ folder, user, log: silentLog })
  parts.defer(() => postgres.stop())
  return postgres
}

async function query(socketFolder: string, text: string): Promise<unknown[]> {
  const client = new pg.Client({ host: socketFolder, user: user.name, database: 'postgres' })
  client.on('error', () => {}) // the server is killed under it
  await client.connect()
  try {
    return (await client.query(text)).rows
  } finally {
    await client.end()
  }
}

describe('private PostgreSQL', () => {
  it('runs as its user, behind a folder that nobody else enters', async () => {
    const { pid, socketFolder, databaseURL } = await start()
    expect((await stat(`/proc/${pid}`)).uid).toBe(user.uid)
    expect((await stat(socketFolder)).mode & 0o777).toBe(0o700)
    expect((await stat(folder)).mode & 0o777).toBe(0o700)
    expect(await query(socketFolder, 'show listen_addresses')).toEqual([{ listen_addresses: '' }])
    expect(await query(socketFolder, 'show fsync')).toEqual([{ fsync: 'on' }])
    const byURL = new pg.Client({ connectionString: databaseURL })
    await byURL.connect()
    await byURL.end()
  })

  it('keeps what is committed when it is killed, and starts beside a stale pid file', async () => {
    const first = await start()
    await query(first.socketFolder, 'create table kept (n integer)')
    await query(first.socketFolder, 'insert into kept values (7)')
    const session = new pg.Client({ host: first.socketFolder, user: user.name, database: 'postgres' })
    session.on('error', () => {}) // it is killed with the server
    await session.connect()
    process.kill(first.pid, 'SIGKILL')
    expect(await first.exited).toBe('SIGKILL')
    expect(existsSync(join(folder, 'data', 'postmaster.pid'))).toBe(true)
    // The number in the file now belongs to somebody else: PostgreSQL alone would refuse to start.
    const other = spawn('setpriv', [`--reuid=${user.uid}`, '--clear-groups', 'sleep', '60'])
    parts.defer(() => void other.kill('SIGKILL'))
    await once(other, 'spawn')
    await writeFile(join(folder, 'data', 'postmaster.pid'), `${other.pid}\n${join(folder, 'data')}\n`)
    const second = await start()
    expect(await query(second.socketFolder, 'select n from kept')).toEqual([{ n: 7 }])
    expect(other.exitCode).toBe(null)
  })

  it('ends one that was left behind before it starts another', async () => {
    const left = await start()
    const started = performance.now()
    const second = await start()
    expect(await left.exited).toBe('exit code 0')
    expect(second.pid).not.toBe(left.pid)
    expect(await query(second.socketFolder, 'select 1 as one')).toEqual([{ one: 1 }])
    expect(performance.now() - started).toBeLessThan(10_000)
  })

  it('goes on after an interrupted first start', async () => {
    await mkdir(join(folder, 'data.new', 'base'), { recursive: true })
    const { socketFolder } = await start()
    expect(await query(socketFolder, 'select 1 as one')).toEqual([{ one: 1 }])
  })

  it('says what is missing where PostgreSQL is not installed', async () => {
    const options = { folder, user, log: silentLog, programs: join(folder, 'none') }
    await expect(startPrivatePostgres(options)).rejects.toThrow(/PostgreSQL is not installed/)
  })

  it('stops within its time while sessions are open', async () => {
    const postgres = await start()
    const session = new pg.Client({ host: postgres.socketFolder, user: user.name, database: 'postgres' })
    session.on('error', () => {}) // it is ended by the stop
    await session.connect()
    session.query('select pg_sleep(60)').catch(() => {}) // as it is meant to
    await pause(50)
    await postgres.stop()
    expect(await postgres.exited).toBe('exit code 0')
    expect(existsSync(join(folder, 'data', 'postmaster.pid'))).toBe(false)
  })
})
