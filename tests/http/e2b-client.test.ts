// The newest `e2b` client from the registry, unmodified, before the API, the edge and a real guest daemon.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { NotFoundError, Sandbox, SandboxNotFoundError } from 'e2b'
import { startInstallation, type TestInstallation } from './installation.ts'

let installed: TestInstallation
let options: { apiKey: string; apiUrl: string; sandboxUrl: string }

beforeAll(async () => {
  installed = await startInstallation()
  const { url, key } = installed
  options = { apiKey: key.replace('lel_', 'e2b_'), apiUrl: url, sandboxUrl: url }
})
afterAll(() => installed[Symbol.asyncDispose]())

describe('the e2b client', () => {
  it('creates, runs, writes, reads, lists, pauses, connects, kills', async () => {
    const sandbox = await Sandbox.create('base', {
      ...options,
      timeoutMs: 60_000,
      metadata: { 'a b': 'c&d=%41' },
      envs: { X: '1' },
    })
    expect(await sandbox.isRunning()).toBe(true)
    expect(await sandbox.commands.run('echo out; echo err >&2')).toMatchObject({
      stdout: 'out\n',
      stderr: 'err\n',
      exitCode: 0,
    })
    await expect(sandbox.commands.run('exit 3')).rejects.toMatchObject({ exitCode: 3 })

    const path = `/tmp/lelantos-e2b-${process.pid}.txt`
    expect(await sandbox.files.write(path, 'grüße')).toMatchObject({ path })
    expect(await sandbox.files.read(path)).toBe('grüße')
    await sandbox.files.remove(path)
    await expect(sandbox.files.read(path)).rejects.toThrow(NotFoundError)

    const listed = await Sandbox.list({ ...options, query: { metadata: { 'a b': 'c&d=%41' } } }).nextItems()
    expect(listed).toMatchObject([{ sandboxId: sandbox.sandboxId, state: 'running', metadata: { 'a b': 'c&d=%41' } }])
    expect(await Sandbox.list({ ...options, query: { metadata: { 'a b': 'other' } } }).nextItems()).toEqual([])

    const before = (await sandbox.getInfo()).endAt
    await sandbox.setTimeout(600_000)
    expect((await sandbox.getInfo()).endAt.getTime()).toBeGreaterThan(before.getTime() + 500_000)

    expect(await sandbox.pause()).toBe(true)
    expect(await sandbox.pause()).toBe(false)
    expect(await sandbox.isRunning()).toBe(false)
    const again = await Sandbox.connect(sandbox.sandboxId, options)
    expect((await again.commands.run('echo back')).stdout).toBe('back\n')

    expect(await again.kill()).toBe(true)
    expect(await again.kill()).toBe(false)
    expect(await again.isRunning()).toBe(false)
    await expect(Sandbox.connect(sandbox.sandboxId, options)).rejects.toThrow(SandboxNotFoundError)
  })

  it('streams what a command prints, as it prints it', async () => {
    await using sandbox = await created()
    const lines: string[] = []
    const command = await sandbox.it.commands.run('read x; echo "got $x"', {
      background: true,
      stdin: true,
      onStdout: (text) => void lines.push(text),
    })
    await sandbox.it.commands.sendStdin(command.pid, 'hello\n')
    await command.wait()
    expect(lines.join('')).toBe('got hello\n')
  })

  it('carries a large file both ways', async () => {
    await using sandbox = await created()
    const path = `/tmp/lelantos-e2b-large-${process.pid}`
    const bytes = new Uint8Array(20 << 20).map((_, n) => n * 7)
    await sandbox.it.files.write(path, bytes.buffer)
    expect(Buffer.compare(await sandbox.it.files.read(path, { format: 'bytes' }), bytes)).toBe(0)
    await sandbox.it.files.remove(path)
  })

  it('ends a stream when its sandbox is killed', async () => {
    await using sandbox = await created()
    const command = await sandbox.it.commands.run('sleep 600', { background: true })
    const ended = command.wait().then(
      () => 'ended',
      (error: Error) => error.message,
    )
    await sandbox.it.kill()
    expect(await ended).toMatch(/killed|terminated|not found|end of life/i)
  })
})

async function created(): Promise<{ it: Sandbox } & AsyncDisposable> {
  const it = await Sandbox.create('base', options)
  return { it, [Symbol.asyncDispose]: async () => void (await it.kill()) }
}
