// One real path through a worker: a template is made, a sandbox is created from it, used, paused, resumed, adopted by
// another worker, and killed; nothing is left on the host.
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { limits, type Log, newID, type Outcome, seal, silentLog } from '@lelantos-ai/contract'
import { Roster } from '@lelantos-ai/worker/roster'
import type { Worker } from '@lelantos-ai/worker/worker'
import { createArgs, Server } from './server.ts'
import { exec, pssMB, realHost, type RealHost } from './real-host.ts'

let host: RealHost
let server: Server
let parts: Awaited<ReturnType<RealHost['open']>>
let worker: Worker
const progress: string[] = []

/** What goes wrong is shown with the test that it goes wrong in. */
const complaints: Log = {
  ...silentLog,
  warn: (fields, message) => console.warn(message, fields),
  error: (fields, message) => console.error(message, fields),
  child: () => complaints,
}

async function start(inUse: readonly number[] = []): Promise<void> {
  parts = await host.open(inUse)
  worker = await server.workerOver(parts, {
    installation: host.installation,
    installationKey: host.installationKey,
    folder: join(host.home, 'worker'),
    templates: [host.template],
    log: complaints,
    progress: (text) => progress.push(text),
  })
  await worker.ready
}

beforeAll(async () => {
  host = await realHost()
  server = new Server(host.installation)
  await server.listen()
  await start()
  console.log(progress.join('\n'))
}, 300_000)

// What a test that failed has left would fail the next ones.
afterEach(async () => {
  for (const { sandboxID, phase } of server.statement?.holdings ?? [])
    if (phase !== 'ended') await server.kill(sandboxID)
})

afterAll(async () => {
  await worker.close({ machines: 'end' })
  await parts.close()
  await host[Symbol.asyncDispose]()
})

const times: Record<string, number[]> = {}

/** What the roster says that machines use, for whoever opens the slots before the worker adopts them. */
async function slotsInUse(): Promise<number[]> {
  const roster = await Roster.open(join(host.home, 'worker/roster'), complaints)
  const { entries } = await roster.read()
  return entries.flatMap(({ machine }) => machine?.held?.slotIndex ?? [])
}

async function timed<T>(what: string, work: () => Promise<T>): Promise<T> {
  const start = performance.now()
  const result = await work()
  ;(times[what] ??= []).push(Math.round(performance.now() - start))
  return result
}

function addressOf(outcome: Outcome): string {
  if (outcome.status !== 'done' || outcome.address === undefined) throw new Error(JSON.stringify(outcome))
  return outcome.address
}

function left(): { folders: string[]; netns: string[]; cgroups: boolean; processes: string } {
  const netns = execFileSync('ip', ['netns'], { encoding: 'utf8' }).split('\n')
  return {
    folders: readdirSync(join(host.home, 'vm/machines')),
    netns: netns.filter((name) => name.includes(host.installation)),
    cgroups: readdirSync('/sys/fs/cgroup').some((controller) => {
      const folder = `/sys/fs/cgroup/${controller}/lelantos-${host.installation}`
      return existsSync(folder) && readdirSync(folder, { withFileTypes: true }).some((entry) => entry.isDirectory())
    }),
    processes: execFileSync('sh', ['-c', `ls -l /proc/[0-9]*/cwd 2>/dev/null | grep ${host.home} || true`], {
      encoding: 'utf8',
    }),
  }
}

describe('a worker over real machines', () => {
  it('creates, runs, pauses, resumes and kills, time after time', async () => {
    for (let round = 0; round < 5; round++) {
      const sandboxID = newID('sandbox')
      const environment = seal(host.installationKey, sandboxID, JSON.stringify({ MODE: 'x y' }))
      const create = { buildID: host.template.buildID, environment }
      let address = addressOf(await timed('create', () => server.create(sandboxID, create)))
      const run = (cmd: string) => exec(host, { address, sandboxID }, cmd)
      expect(await timed('first exec', () => run('echo "$MODE"'))).toMatchObject({ stdout: 'x y\n', exitCode: 0 })
      await timed('exec', () => run('true'))
      expect((await run('hostname')).stdout.trim()).toBe(sandboxID)
      await run(
        'nohup sh -c "n=0; while :; do n=\\$((n+1)); echo \\$n > /tmp/count; sleep 0.05; done" >/dev/null 2>&1 & echo $! > /tmp/pid',
      )
      await run('head -c 20000000 /dev/urandom > /root/file; sha256sum /root/file > /root/sum')
      const pid = (await run('cat /tmp/pid')).stdout
      for (let cycle = 0; cycle < 2; cycle++) {
        const before = Number((await run('cat /tmp/count')).stdout)
        const snapshotID = newID('snapshot')
        const paused = await timed('pause', () => server.pause(sandboxID, snapshotID))
        expect(paused).toMatchObject({ status: 'done', snapshotBytes: expect.any(Number) as unknown })
        expect(left()).toMatchObject({ folders: [], cgroups: false, processes: '' })
        address = addressOf(await timed('resume', () => server.resume(sandboxID, snapshotID)))
        const asked = Date.now()
        const now = Number((await timed('exec after resume', () => run('date +%s%3N'))).stdout)
        expect(now).toBeGreaterThan(asked - limits.clockToleranceMs)
        expect(now).toBeLessThan(Date.now() + limits.clockToleranceMs)
        expect((await run('sha256sum -c < /root/sum')).stdout).toBe('/root/file: OK\n')
        await vi.waitFor(async () => expect(Number((await run('cat /tmp/count')).stdout)).toBeGreaterThan(before))
        expect((await run('cat /tmp/pid; kill -0 $(cat /tmp/pid) && echo alive')).stdout).toBe(`${pid}alive\n`)
        expect((await run('echo "$MODE"')).stdout).toBe('x y\n')
      }
      await timed('kill', () => server.kill(sandboxID))
      expect(left()).toMatchObject({ folders: [], cgroups: false, processes: '' })
    }
    console.log(JSON.stringify(times))
  })

  it('gives clones different random numbers', async () => {
    const ids = [newID('sandbox'), newID('sandbox')]
    const outcomes = await Promise.all(ids.map((id) => server.create(id, { buildID: host.template.buildID })))
    const random = await Promise.all(
      outcomes.map((outcome, index) =>
        exec(host, { address: addressOf(outcome), sandboxID: ids[index] ?? '' }, 'cat /proc/sys/kernel/random/uuid'),
      ),
    )
    expect(random[0]?.stdout).not.toBe(random[1]?.stdout)
    for (const id of ids) console.log('pss', await pssMB(worker.inspect(id)?.pid ?? 0))
    await Promise.all(ids.map((id) => server.kill(id)))
  })

  it('is followed by a worker that adopts what runs', async () => {
    const sandboxID = newID('sandbox')
    const address = addressOf(await server.create(sandboxID, { buildID: host.template.buildID }))
    await exec(host, { address, sandboxID }, 'echo here > /tmp/here')
    const before = worker.inspect(sandboxID)
    await worker.close({ machines: 'keep' })
    await parts.close()
    await timed('start again', async () => start(await slotsInUse()))
    expect(worker.inspect(sandboxID)).toMatchObject({
      pid: before?.pid,
      machineID: before?.machineID,
      phase: 'running',
    })
    const snapshotID = newID('snapshot')
    expect(await server.pause(sandboxID, snapshotID)).toMatchObject({ status: 'done' })
    const resumed = addressOf(await server.resume(sandboxID, snapshotID))
    expect((await exec(host, { address: resumed, sandboxID }, 'cat /tmp/here')).stdout).toBe('here\n')
    await server.kill(sandboxID)
    expect(left()).toMatchObject({ folders: [], cgroups: false, processes: '' })
  })

  it('sees a VMM that is killed, and a guest that shuts down', async () => {
    for (const [cmd, reason] of [
      [undefined, 'vmm_died'],
      ['kill -TERM 1', 'guest_shutdown'],
    ] as const) {
      const sandboxID = newID('sandbox')
      const address = addressOf(await server.create(sandboxID, { buildID: host.template.buildID }))
      const start = performance.now()
      if (cmd === undefined) process.kill(worker.inspect(sandboxID)?.pid ?? 0, 'SIGKILL')
      else await exec(host, { address, sandboxID }, cmd).catch(() => {})
      await vi.waitFor(
        () =>
          expect(server.reports).toContainEqual(
            expect.objectContaining({ sandboxID, event: expect.objectContaining({ reason }) as unknown }),
          ),
        { timeout: 20_000 },
      )
      if (cmd === undefined) expect(performance.now() - start).toBeLessThan(2000)
      expect(left()).toMatchObject({ folders: [], cgroups: false, processes: '' })
    }
  })

  it('lets a kill win over a create that has just begun', async () => {
    const sandboxID = newID('sandbox')
    const create = server.once(server.next('create', sandboxID, { ...createArgs, buildID: host.template.buildID }))
    await vi.waitFor(() => expect(readdirSync(join(host.home, 'vm/machines'))).toHaveLength(1), { interval: 1 })
    expect(await timed('kill of a create', () => server.kill(sandboxID))).toEqual({ status: 'done' })
    expect(await create).toMatchObject({ code: 'aborted' })
    await vi.waitFor(() => expect(left()).toMatchObject({ folders: [], cgroups: false, processes: '' }), {
      timeout: 10_000,
    })
    console.log(JSON.stringify(times))
  })
})
