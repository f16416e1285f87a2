// `process.Process` as E2B's clients speak it, over a real socket.
import { execFileSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ENVD_VERSION } from '@lelantos-ai/contract'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type Daemon, startDaemon, testUser } from './daemon.ts'
import { call, events, gather, type ProcessEvent, shell, stream, StreamError } from './wire.ts'

let daemon: Daemon
beforeAll(async () => {
  daemon = await startDaemon({ open: true })
})
afterAll(() => daemon[Symbol.asyncDispose]())

const run = (cmd: string, more = {}, options = {}) => gather(events(daemon, 'Start', shell(cmd, more), options))
const b64 = (text: string) => Buffer.from(text).toString('base64')

async function next(source: AsyncGenerator<ProcessEvent>): Promise<ProcessEvent> {
  const { value, done } = await source.next()
  if (done === true) throw new Error('the stream ended')
  return value
}

async function running(): Promise<{ pid: number; tag?: string }[]> {
  const { body } = await call(daemon, 'process.Process/List', {})
  return (body['processes'] ?? []) as { pid: number; tag?: string }[]
}

describe('Start', () => {
  it('streams start, output and the end', async () => {
    const result = await run('echo out; echo err >&2; exit 3')
    expect(result).toMatchObject({ stdout: 'out\n', stderr: 'err\n' })
    expect(result.pid).toBeGreaterThan(1)
    expect(result.end).toEqual({ exitCode: 3, exited: true, status: 'exit status 3', error: 'exit status 3' })
    expect((await run('true')).end).toEqual({ exited: true, status: 'exit status 0' })
  })

  it('gives a process its user, directory and environment', async () => {
    const process = { cmd: '/bin/sh', args: ['-c', 'id -un; pwd; env'], cwd: '/usr', envs: { MINE: 'ü', MODE: 'y' } }
    const result = await gather(events(daemon, 'Start', { process, unknownField: 1 }))
    const lines = result.stdout.split('\n')
    expect(lines.slice(0, 2)).toEqual([testUser, '/usr'])
    for (const line of [
      `USER=${testUser}`,
      `LOGNAME=${testUser}`,
      'MINE=ü',
      'MODE=y',
      'LANG=C.UTF-8',
      'E2B_SANDBOX=true',
    ])
      expect(lines).toContain(line)
    for (const line of ['E2B_SANDBOX_ID=sbxtest', 'LELANTOS_SANDBOX_ID=sbxtest', 'E2B_TEMPLATE_ID=base'])
      expect(lines).toContain(line)
    expect(lines.some((line) => line.startsWith('HOME=/')) && lines.some((line) => line.startsWith('SHELL=/'))).toBe(
      true,
    )
    expect((await run('id -un', {}, { user: 'root' })).stdout).toBe('root\n')
  })

  it('refuses who and what is not there', async () => {
    await expect(run('true', {}, { user: 'nosuchuser' })).rejects.toMatchObject({
      error: { code: 'unauthenticated', message: "invalid username: 'nosuchuser'" },
    })
    const start = (process: object) => gather(events(daemon, 'Start', { process }))
    await expect(start({ cmd: '/no/such' })).rejects.toMatchObject({ error: { code: 'invalid_argument' } })
    await expect(start({ cmd: 'ls', cwd: '/no/such' })).rejects.toMatchObject({ error: { code: 'invalid_argument' } })
    await expect(run('true', { pty: { size: { cols: 80, rows: 24 } } })).rejects.toMatchObject({
      error: { code: 'unimplemented' },
    })
  })

  it('carries much output whole, in chunks of at most 32 KiB', async () => {
    const result = await run('seq 400000')
    expect(result.stdout.length).toBe(2_688_895)
    expect(result.stdout.endsWith('\n400000\n')).toBe(true)
    expect(result.chunkMax).toBeLessThanOrEqual(32_768)
  })

  it('sends a keepalive when there is nothing else to send', async () => {
    const result = await run('sleep 2.5', {}, { headers: { 'Keepalive-Ping-Interval': '1' } })
    expect(result.keepalives).toBe(2)
  })

  it('kills the process at the deadline of its request', async () => {
    const started = Date.now()
    const source = events(daemon, 'Start', shell('sleep 60'), { headers: { 'Connect-Timeout-Ms': '500' } })
    const pid = (await next(source)).start!.pid
    await expect(next(source)).rejects.toMatchObject({ error: { code: 'deadline_exceeded' } })
    expect(Date.now() - started).toBeLessThan(10_000)
    await vi.waitFor(async () => expect((await running()).map((p) => p.pid)).not.toContain(pid), 10_000)
  })

  it('lets the process run on when the client leaves, until its deadline', async () => {
    const left = new AbortController()
    const file = join(daemon.folder, 'ran-on')
    const source = events(daemon, 'Start', shell(`sleep 1; echo yes > ${file}; sleep 60`), {
      signal: left.signal,
      headers: { 'Connect-Timeout-Ms': '4000' },
    })
    const pid = (await next(source)).start!.pid
    left.abort()
    await vi.waitFor(async () => expect(await readFile(file, 'utf8')).toBe('yes\n'), 20_000)
    expect((await running()).map((p) => p.pid)).toContain(pid)
    await vi.waitFor(async () => expect((await running()).map((p) => p.pid)).not.toContain(pid), 40_000)
  })

  it('does not grow when its reader is slow', async () => {
    const source = events(daemon, 'Start', shell('yes lelantos'))
    const pid = (await next(source)).start!.pid
    const written = async () => Number(/wchar: (\d+)/.exec(await readFile(`/proc/${pid}/io`, 'utf8'))![1])
    let before = -1
    await vi.waitFor(
      async () => {
        const now = await written()
        const still = now === before
        before = now
        expect(still).toBe(true)
      },
      { timeout: 30_000, interval: 300 },
    )
    const status = await readFile(`/proc/${daemon.pid}/status`, 'utf8')
    expect(Number(/VmRSS:\s+(\d+)/.exec(status)![1])).toBeLessThan(65_536)
    await call(daemon, 'process.Process/SendSignal', { process: { pid }, signal: 'SIGNAL_SIGKILL' })
    for await (const event of source) if (event.end !== undefined) expect(event.end.status).toBe('signal: killed')
  })
})

describe('a running process', () => {
  it('is found by pid and tag, and heard by several', async () => {
    const first = events(daemon, 'Start', shell('read line; echo got $line; read line', { stdin: true, tag: 'shared' }))
    const pid = (await next(first)).start!.pid
    expect(await running()).toContainEqual(expect.objectContaining({ pid, tag: 'shared' }))
    const second = events(daemon, 'Connect', { process: { tag: 'shared' } })
    expect(await next(second)).toEqual({ start: { pid } })
    await call(daemon, 'process.Process/SendInput', { process: { pid }, input: { stdin: b64('hello\n') } })
    for (const source of [first, second]) expect(await next(source)).toEqual({ data: { stdout: b64('got hello\n') } })
    const closed = await call(daemon, 'process.Process/CloseStdin', { process: { tag: 'shared' } })
    expect(closed).toEqual({ status: 200, body: {} })
    for (const source of [first, second]) expect((await gather(after(source, pid))).end).toMatchObject({ exited: true })
  })

  it('takes a stream of input', async () => {
    const source = events(daemon, 'Start', shell('cat', { stdin: true }))
    const { pid } = (await next(source)).start!
    const input = (text: string) => ({ data: { input: { stdin: b64(text) } } })
    const messages = [{ start: { process: { pid } } }, input('one '), { keepalive: {} }, input('two')]
    for await (const reply of stream(daemon, 'process.Process/StreamInput', messages)) expect(reply).toEqual({})
    await call(daemon, 'process.Process/CloseStdin', { process: { pid } })
    expect((await gather(after(source, pid))).stdout).toBe('one two')
  })

  it('takes signals', async () => {
    const source = events(
      daemon,
      'Start',
      shell('trap "echo term; exit 9" TERM; echo ready; while :; do sleep 0.1; done'),
    )
    const { pid } = (await next(source)).start!
    await next(source)
    await call(daemon, 'process.Process/SendSignal', { process: { pid }, signal: 'SIGNAL_SIGTERM' })
    const result = await gather(after(source, pid))
    expect(result.stdout).toBe('term\n')
    expect(result.end).toMatchObject({ exitCode: 9, exited: true })
    const killed = run('kill -9 $$')
    expect((await killed).end).toEqual({ exitCode: -1, status: 'signal: killed', error: 'signal: killed' })
  })

  it('tells its end to a client that connects after it', async () => {
    const { pid } = await run('exit 5')
    const late = await gather(events(daemon, 'Connect', { process: { pid } }))
    expect(late).toMatchObject({ pid, end: { exitCode: 5 } })
    const signal = await call(daemon, 'process.Process/SendSignal', { process: { pid }, signal: 'SIGNAL_SIGKILL' })
    expect(signal).toEqual({
      status: 404,
      body: { code: 'not_found', message: `process with pid ${pid} not found` },
    })
    await expect(gather(events(daemon, 'Connect', { process: { pid: 4_000_000 } }))).rejects.toThrow(
      'process with pid 4000000 not found',
    )
  })
})

it('answers what it does not serve with unimplemented', async () => {
  const update = await call(daemon, 'process.Process/Update', {
    process: { pid: 1 },
    pty: { size: { cols: 1, rows: 1 } },
  })
  expect(update).toMatchObject({ status: 501, body: { code: 'unimplemented' } })
  const watching = stream(daemon, 'filesystem.Filesystem/WatchDir', { path: '/tmp' })
  await expect(watching.next()).rejects.toThrow(StreamError)
})

it('says the version that the contract says', async () => {
  expect(execFileSync(daemon.program, ['version'], { encoding: 'utf8' }).trim()).toBe(ENVD_VERSION)
})

/** `gather` wants a start first: this stream has had its own. */
async function* after(source: AsyncIterable<ProcessEvent>, pid: number): AsyncGenerator<ProcessEvent> {
  yield { start: { pid } }
  yield* source
}
