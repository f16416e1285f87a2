// What an installation survives: going down and coming up, and each of its processes being killed at any time. Machines
// that run go on meanwhile, and are taken over by their pid.
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import type { LelantosClient, SandboxHandle } from '@lelantos-ai/sdk'
import { askControl } from '@lelantos-ai/daemon/control'
import { homeAt } from '@lelantos-ai/daemon/home'
import { finished, Installation } from './installation.ts'

const COUNT = '(i=0; while :; do i=$((i+1)); echo $i > /dev/shm/count; sleep 0.05; done) > /dev/null 2>&1 & echo $!'
const WELL = { timeout: 60_000, interval: 100 }

let installation: Installation
let client: LelantosClient
let sandbox: SandboxHandle
let counter: string

beforeAll(async () => {
  installation = await Installation.start()
  client = await installation.client()
}, 600_000)
afterAll(() => installation?.remove(), 120_000)

beforeEach(async () => {
  sandbox = await client.createSandbox({ templateID: 'base', timeout: 3600 })
  counter = (await sandbox.commands.run(COUNT)).stdout.trim()
})
afterEach(async () => {
  await sandbox.kill().catch(() => {}) // some tests have ended it
})

it('goes down with its sandboxes paused, leaves nothing, and comes up with them running', async () => {
  const before = await count()
  const { endAt } = await sandbox.getDetails()
  const down = await installation.down()
  expect(down).toMatchObject({ code: 0, stderr: expect.stringContaining('paused 1 of 1 sandboxes') })
  expect(leftovers()).toEqual([])

  await installation.up()
  client = await installation.client()
  sandbox = client.sandbox(sandbox.sandboxID)
  expect((await sandbox.getDetails()).state).toBe('running')
  expect(await count()).toBeGreaterThanOrEqual(before)
  // The time that it was down does not count.
  expect(Date.parse((await sandbox.getDetails()).endAt ?? '')).toBeGreaterThan(Date.parse(endAt ?? ''))
  expect((await sandbox.getLogs()).logs.map(({ line }) => line.replace('sandbox.lifecycle.', ''))).toEqual([
    'created',
    'running',
    'paused',
    'resumed',
  ])
}, 300_000)

it('takes machines over that down has left running', async () => {
  const { pid } = await inspect()
  expect((await installation.down('--keep-vms')).code).toBe(0)
  expect(isAlive(pid)).toBe(true)
  await installation.up()
  expect((await inspect()).pid).toBe(pid)
  expect(await count()).toBeGreaterThan(0)
}, 300_000)

it.each(['worker', 'server', 'nats', 'postgres'] as const)(
  'goes on when its %s is killed',
  async (part) => {
    const { pid } = await inspect()
    const before = await count()
    const victim = await pidOf(part)
    process.kill(victim, 'SIGKILL')
    await expect
      .poll(
        () =>
          pidOf(part).then(
            (now) => now !== victim,
            () => false,
          ),
        WELL,
      )
      .toBe(true)
    await expect.poll(() => count().catch(() => 0), WELL).toBeGreaterThan(before)
    await expect
      .poll(
        () =>
          inspect().then(
            (found) => found.pid,
            () => 0,
          ),
        WELL,
      )
      .toBe(pid)
    // And it is whole: orders pass again, in both directions.
    await expect.poll(() => sandbox.pause().then(() => 'paused', String), WELL).toBe('paused')
    await expect.poll(() => sandbox.resume().then(() => 'running', String), WELL).toBe('running')
    expect((await sandbox.commands.run(`kill -0 ${counter} && echo alive`)).stdout).toBe('alive\n')
  },
  300_000,
)

it('is taken up again when its parent is killed', async () => {
  const { pid } = await inspect()
  const status = (await askControl(homeAt(installation.home).controlSocket, { verb: 'status' })) as { pid: number }
  const children = childrenOf(status.pid)
  process.kill(status.pid, 'SIGKILL')
  await expect.poll(() => children.filter(isAlive), WELL).toEqual([])
  expect(isAlive(pid)).toBe(true)
  await installation.up()
  expect((await inspect()).pid).toBe(pid)
  expect((await sandbox.commands.run(`kill -0 ${counter} && echo alive`)).stdout).toBe('alive\n')
}, 300_000)

it('ends a sandbox whose machine is killed, and says why', async () => {
  const { pid } = await inspect()
  process.kill(pid, 'SIGKILL')
  await expect
    .poll(
      () =>
        sandbox.getDetails().then(
          () => 'live',
          () => 'ended',
        ),
      WELL,
    )
    .toBe('ended')
  const got = JSON.parse((await installation.cli('get', sandbox.sandboxID, '--json')).stdout) as object
  expect(got).toMatchObject({ state: 'killed', endReason: 'vmm_died' })
  expect((await sandbox.getLogs()).logs.filter(({ line }) => line.includes('error'))).toHaveLength(1)
})

it('leaves nothing when it goes down with its sandboxes killed', async () => {
  expect((await installation.down('--kill')).code).toBe(0)
  expect(leftovers()).toEqual([])
  await installation.up()
  client = await installation.client()
  expect(await client.listSandboxes()).toEqual([])
}, 300_000)

async function count(): Promise<number> {
  return Number((await sandbox.commands.run('cat /dev/shm/count')).stdout)
}

async function inspect(): Promise<{ pid: number }> {
  return JSON.parse((await installation.host(['inspect', sandbox.sandboxID, '--json'])).stdout) as { pid: number }
}

/** Everything on this host that carries the installation's name or lives in its folder. */
function leftovers(of = installation): string[] {
  const { id } = JSON.parse(readFileSync(`${of.home}/installation.json`, 'utf8')) as { id: string }
  const named = (folder: string) => readdirSync(folder).filter((name) => name.includes(id))
  const mounts = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .filter((line) => line.includes(of.home))
  const processes = pids().filter((pid) => commandLine(pid).includes(of.home))
  return [
    ...named('/run/netns'),
    ...named('/sys/class/net'),
    ...mounts,
    ...processes.map((pid) => `${pid} ${commandLine(pid)}`),
  ]
}

async function pidOf(part: 'worker' | 'server' | 'nats' | 'postgres'): Promise<number> {
  const status = (await askControl(homeAt(installation.home).controlSocket, { verb: 'status' })) as { pid: number }
  const words = { worker: 'role worker', server: 'role server', nats: 'nats-server', postgres: '/bin/postgres' }[part]
  const found = childrenOf(status.pid).find((pid) => commandLine(pid).includes(words))
  if (found === undefined) throw new Error(`no ${part} runs`)
  return found
}

function childrenOf(parent: number): number[] {
  return pids().filter((pid) => new RegExp(`^PPid:\\s+${parent}$`, 'm').test(read(`/proc/${pid}/status`)))
}

function pids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
}

function commandLine(pid: number): string {
  return read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')
}

function isAlive(pid: number): boolean {
  return /^State:\s+[^ZX]/m.test(read(`/proc/${pid}/status`))
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return '' // it has ended
  }
}

it('refuses a port that is taken, before it does anything', async () => {
  const blocker = createServer().listen(0, '127.0.0.1')
  await once(blocker, 'listening')
  const other = await Installation.create()
  try {
    const { port } = blocker.address() as { port: number }
    const ran = await other.host(['up', '--detach', '--port', String(port), '--vm-disk', '4G'])
    expect(ran).toMatchObject({ code: 2, stderr: expect.stringContaining(String(port)) })
    expect(ran.stderr).toMatch(/in use|taken/i)
  } finally {
    blocker.close()
    await other.remove()
  }
}, 300_000)

it('says why it cannot start while its template boots, and leaves nothing', async () => {
  const other = await Installation.create()
  try {
    // The worker is making its template when the server finds no database.
    other.environment['DATABASE_URL'] = 'postgresql://127.0.0.1:1/none'
    const ran = await other.host(['up', '--detach', '--port', String(other.port), '--vm-disk', '4G'])
    expect(ran).toMatchObject({ code: 1, stderr: expect.stringContaining('ECONNREFUSED') })
    expect(leftovers(other)).toEqual([])
  } finally {
    await other.remove()
  }
}, 300_000)

it('pauses what runs at Ctrl-C, as it does at down', async () => {
  expect((await installation.down()).code).toBe(0)
  const up = installation.spawn('packages/daemon/src/main.ts', ['up', '--port', String(installation.port)])
  const ended = finished(up)
  await expect
    .poll(
      () =>
        client.listSandboxes().then(
          (all) => all.map((one) => one.state),
          () => [],
        ),
      { timeout: 120_000, interval: 200 },
    )
    .toEqual(['running'])
  // The sandbox is awake before the last line is said; Ctrl-C may come at any time.
  up.kill('SIGINT')
  const ran = await ended
  expect(ran).toMatchObject({ code: 0, stderr: expect.stringContaining('paused 1 of 1 sandboxes') })
  await installation.up()
  expect((await sandbox.commands.run(`kill -0 ${counter} && echo alive`)).stdout).toBe('alive\n')
}, 300_000)
