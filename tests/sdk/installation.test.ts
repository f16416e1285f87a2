// SDK and command against the real control plane, edge and guest daemon; only the worker is played.
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { LelantosClient, type SandboxHandle } from '@lelantos-ai/sdk'
import { lelantos, start } from '../cli/lelantos.ts'
import { startInstallation, type TestInstallation } from '../http/installation.ts'

let installation: TestInstallation
let client: LelantosClient
let sandbox: SandboxHandle
let folder: string

beforeAll(async () => {
  installation = await startInstallation()
  client = new LelantosClient({ apiKey: installation.key, baseURL: installation.url })
  folder = await mkdtemp(join(tmpdir(), 'lelantos-sdk-'))
  sandbox = await client.createSandbox({ templateID: 'base', timeout: 600, metadata: { 'a b': 'c&d=ü%20+', n: '1' } })
})
afterAll(async () => {
  await installation[Symbol.asyncDispose]()
  await rm(folder, { recursive: true })
})

// Not by a login shell, whose profile is that of the machine under test.
const sh = (script: string) => ['sh', '-c', script] as const

describe('commands', () => {
  it('give streams, exit code, user, folder and environment', async () => {
    const options = { envs: { MODE: 'x y' }, cwd: '/tmp', user: 'nobody' }
    const result = await sandbox.commands.run(sh('echo $MODE; pwd; id -un; echo err >&2; exit 3'), options)
    expect(result).toEqual({ stdout: 'x y\n/tmp\nnobody\n', stderr: 'err\n', exitCode: 3 })
    expect((await sandbox.commands.run(sh('id -un'))).stdout).toBe('root\n')
    expect((await sandbox.commands.run('echo "$0"')).stdout).toMatch(/bash\n$/)
  })

  it('tell signals and deadlines as they are', async () => {
    expect((await sandbox.commands.run(sh('kill -TERM $$'))).exitCode).toBe(143)
    expect((await sandbox.commands.run(sh('kill -SEGV $$'))).exitCode).toBe(139)
    await expect(sandbox.commands.run(['sleep', '600'], { timeoutMs: 300 })).rejects.toMatchObject({
      name: 'TimeoutError',
      code: 'command_timeout',
    })
    await expect(sandbox.commands.run(['no-such-program'])).rejects.toMatchObject({ name: 'InvalidRequestError' })
    await expect(sandbox.commands.run(['id'], { user: 'no-one-of-that-name' })).rejects.toMatchObject({
      name: 'AuthenticationError',
    })
  })

  it('take long input and give long output', async () => {
    const input = 'ü€😀'.repeat(100_000)
    const { stdout } = await sandbox.commands.run(['cat'], { stdin: input })
    expect(stdout === input).toBe(true)
    expect((await sandbox.commands.run(sh('exec <&-; echo done'), { stdin: input })).stdout).toBe('done\n')
    expect((await sandbox.commands.run(['cat'])).stdout).toBe('')
  })

  it('end with their signal, their caller or their kill', async () => {
    const reason = new Error('enough')
    const controller = new AbortController()
    const running = sandbox.commands.run(sh('echo $$; exec sleep 600'), {
      signal: controller.signal,
      onStdout: () => controller.abort(reason),
    })
    await expect(running).rejects.toBe(reason)
    const command = await sandbox.commands.start(['sleep', '600'])
    await command.kill('SIGTERM')
    expect(await command.wait()).toBe(143)
    await command.kill()
  })
})

describe('files', () => {
  it('go both ways whole, streamed or not', async () => {
    const bytes = randomBytes(5_000_000)
    const path = join(folder, 'sub', 'ü %.bin')
    expect(await sandbox.uploadFile(path, new Blob([bytes]).stream())).toMatchObject({ name: 'ü %.bin', path })
    expect(bytes.equals(await sandbox.downloadFile(path))).toBe(true)
    expect(await sandbox.files.stat(path)).toMatchObject({ type: 'file', size: 5_000_000, owner: 'root' })
    expect((await sandbox.files.list(folder)).map(({ name, type }) => [name, type])).toEqual([['sub', 'directory']])
    expect(await sandbox.files.makeDir(join(folder, 'sub'))).toBe(false)
    expect(await sandbox.files.makeDir(join(folder, 'new'))).toBe(true)
    await sandbox.files.move(path, join(folder, 'moved'))
    expect([await sandbox.files.exists(path), await sandbox.files.exists(join(folder, 'moved'))]).toEqual([false, true])
    await sandbox.files.remove(join(folder, 'moved'))
    await expect(sandbox.downloadFile(join(folder, 'moved'))).rejects.toMatchObject({ name: 'NotFoundError' })
    await expect(sandbox.downloadFile(folder)).rejects.toMatchObject({ name: 'InvalidRequestError' })
  })
})

describe('sandboxes', () => {
  it('are found by metadata of any kind, on both lists', async () => {
    const other = await client.createSandbox({ templateID: 'base', metadata: { n: '1' } })
    for (const filter of [{ 'a b': 'c&d=ü%20+' }, { metadata: { 'a b': 'c&d=ü%20+', n: '1' } }]) {
      expect((await client.listSandboxes(filter)).map(({ sandboxID }) => sandboxID)).toEqual([sandbox.sandboxID])
    }
    expect((await client.listSandboxesV2({ metadata: { n: '1' } })).data).toHaveLength(2)
    const page = await client.listSandboxesV2({ limit: 1 })
    expect(page.nextToken).toBeDefined()
    const rest = await client.listSandboxesV2({ limit: 1, nextToken: page.nextToken })
    expect([...page.data, ...rest.data].map(({ sandboxID }) => sandboxID)).toEqual([other.sandboxID, sandbox.sandboxID])
    expect(rest.nextToken).toBeUndefined()
    await other.kill()
    await expect(other.kill()).rejects.toMatchObject({ code: 'sandbox_not_found' })
    expect((await client.getSandbox(other.sandboxID, { terminated: true })).endReason).toBe('api')
    await expect(other.commands.run('true')).rejects.toMatchObject({
      name: 'NotFoundError',
      message: expect.stringContaining('is not running'),
    })
  })

  it('pause, resume and change their deadline', async () => {
    await using one = await client.createSandbox({ templateID: 'base', timeout: 0 })
    expect(await one.getDetails()).toMatchObject({ state: 'running', endAt: null })
    await one.pause()
    await expect(one.pause()).rejects.toMatchObject({ name: 'ConflictError', code: 'already_paused' })
    await one.resume({ timeout: 60 })
    await expect(one.resume()).rejects.toMatchObject({ name: 'ConflictError', code: 'not_paused' })
    expect((await one.commands.run(sh('echo back'))).stdout).toBe('back\n')
    await one.setTimeout(120)
    await one.refresh(600)
    const { endAt } = await one.getDetails()
    expect(Date.parse(endAt ?? '') - Date.now()).toBeGreaterThan(500_000)
    const { logs } = await one.getLogs()
    expect(logs.map(({ line }) => line.replace('sandbox.lifecycle.', ''))).toEqual([
      'created',
      'running',
      'paused',
      'resumed',
    ])
    expect(await one.getMetrics()).toMatchObject({ cpuCount: expect.any(Number), memTotal: expect.any(Number) })
  })

  it('are made once by one idempotency key', async () => {
    const twice = async () => await client.createSandbox({ templateID: 'base' }, { idempotencyKey: 'same' })
    const [one, two] = await Promise.all([twice(), twice()])
    expect(one.sandboxID).toBe(two.sandboxID)
    await one.kill()
    await expect(client.createSandbox({ templateID: 'none' })).rejects.toMatchObject({ code: 'template_not_found' })
  })
})

describe('the command', () => {
  const access = () => ({ url: installation.url, apiKey: installation.key })
  const run = async (argv: string[], input?: string) =>
    await lelantos(access(), argv, input === undefined ? {} : { input })

  it('creates, executes, copies, lists and kills', async () => {
    const made = await run(['create', '-m', 'by=cli', '--timeout', '10m'])
    expect(made.code).toBe(0)
    const id = made.stdout.trim()
    expect(await run(['exec', id, '--', 'sh', '-c', 'cat; echo err >&2; exit 7'], 'in')).toEqual({
      code: 7,
      stdout: 'in',
      stderr: 'err\n',
    })
    const bytes = randomBytes(20_000_000)
    const sum = createHash('sha256').update(bytes).digest('hex')
    const [there, back] = [join(folder, 'cli', 'there'), join(folder, 'back')]
    writeFileSync(join(folder, 'there'), bytes)
    expect(await run(['cp', join(folder, 'there'), `${id}:${folder}/cli/`])).toMatchObject({ code: 0 })
    expect((await run(['exec', id.slice(0, 12), '--', 'sha256sum', there])).stdout).toContain(sum)
    expect(await run(['cp', `${id}:${there}`, back])).toMatchObject({ code: 0 })
    expect(readFileSync(back).equals(bytes)).toBe(true)
    expect((await run(['ls', '-m', 'by=cli'])).stdout).toContain(id)
    expect((await run(['metrics', id])).stdout).toMatch(/^cpu .*\nmemory /)
    expect(await run(['kill', id])).toMatchObject({ code: 0, stdout: `${id}\n` })
    expect((await run(['get', id])).stdout).toMatch(/state +killed \(api\)/)
    expect(await run(['exec', id, '--', 'true'])).toMatchObject({ code: 3 })
  })

  it('runs, passes signals on, and leaves nothing', async () => {
    const one = start(access(), ['run', '-m', 'by=run', '--', 'echo started; sleep 600'])
    await new Promise((resolve) => one.child.stdout?.once('data', resolve))
    one.child.kill('SIGINT')
    expect(await one.ended).toMatchObject({ code: 130, stdout: 'started\n' })
    expect(await run(['run', '-m', 'by=run', '--', 'sh', '-c', 'exit 9'])).toMatchObject({ code: 9 })
    expect(await client.listSandboxes({ by: 'run' })).toEqual([])
  })

  it('makes keys that work until they are deleted', async () => {
    const made = JSON.parse((await run(['key', 'create', 'ci', '--json'])).stdout) as { id: string; apiKey: string }
    const other = { url: installation.url, apiKey: made.apiKey }
    expect((await lelantos(other, ['template', 'ls'])).stdout).toContain('base')
    expect(await run(['key', 'rm', made.id])).toMatchObject({ code: 0 })
    expect(await lelantos(other, ['ls'])).toMatchObject({ code: 4 })
  })
})
