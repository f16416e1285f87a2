// The first path, as a stranger walks it: up, a sandbox by SDK, CLI, HTTP and E2B's client, pause, resume, kill, down.
import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Sandbox as E2BSandbox } from 'e2b'
import { type LelantosClient, NotFoundError } from '@lelantos-ai/sdk'
import { finished, Installation } from './installation.ts'

let installation: Installation
let client: LelantosClient

beforeAll(async () => {
  installation = await Installation.start()
  client = await installation.client()
}, 600_000)
afterAll(() => installation?.remove(), 120_000)

describe('a sandbox by the SDK', () => {
  it('runs commands with its environment, as root in a machine of its own', async () => {
    await using sandbox = await client.createSandbox({
      templateID: 'base',
      timeout: 600,
      metadata: { user: 'u1' },
      envVars: { MODE: 'x y' },
    })
    expect(await sandbox.commands.run('echo "$MODE"; id -un; echo err >&2; exit 3')).toEqual({
      stdout: 'x y\nroot\n',
      stderr: 'err\n',
      exitCode: 3,
    })
    const tools = await sandbox.commands.run(
      'python3 -c "import venv, os; print(os.environ[\'MODE\'])" && node -e "console.log(process.env.MODE)" && git --version && gcc --version | head -1 && sudo -u user -n sudo -n id -u',
    )
    expect(tools.stderr).toBe('')
    expect(tools.stdout).toMatch(/^x y\nx y\ngit version .*\ngcc .*\n0\n$/)
    const details = await sandbox.getDetails()
    expect(details).toMatchObject({
      state: 'running',
      status: 'running',
      metadata: { user: 'u1' },
      cpuCount: 2,
      memoryMB: 512,
      diskSizeMB: 20_480,
    })
  })

  it('is paused with its memory and files, and resumed exactly as it was', async () => {
    await using sandbox = await client.createSandbox({ templateID: 'base', timeout: 600 })
    await sandbox.commands.run(
      'head -c 5000000 /dev/urandom > /root/file; sha256sum /root/file > /root/sum; (i=0; while :; do i=$((i+1)); echo $i > /dev/shm/count; sleep 0.05; done) > /dev/null 2>&1 & echo $! > /dev/shm/pid',
    )
    for (let round = 0; round < 6; round++) {
      const before = Number((await sandbox.commands.run('cat /dev/shm/count')).stdout)
      await sandbox.pause()
      expect((await sandbox.getDetails()).state).toBe('paused')
      await sandbox.resume()
      const after = await sandbox.commands.run(
        'cat /dev/shm/count; kill -0 $(cat /dev/shm/pid) && sha256sum --check --quiet /root/sum && echo whole; date +%s%3N',
      )
      const [count, whole, clock] = after.stdout.split('\n')
      expect(Number(count)).toBeGreaterThanOrEqual(before)
      expect(whole).toBe('whole')
      expect(Math.abs(Number(clock) - Date.now())).toBeLessThan(5000)
    }
    const lines = (await sandbox.getLogs()).logs.map((entry) => entry.line)
    expect(lines.slice(0, 4)).toEqual([
      'sandbox.lifecycle.created',
      'sandbox.lifecycle.running',
      'sandbox.lifecycle.paused',
      'sandbox.lifecycle.resumed',
    ])
  }, 180_000)

  it('differs from every other in its random numbers, host name and token', async () => {
    const sandboxes = await Promise.all(
      Array.from({ length: 3 }, () => client.createSandbox({ templateID: 'base', timeout: 600 })),
    )
    try {
      const draws = await Promise.all(
        sandboxes.map((sandbox) =>
          sandbox.commands.run(
            'for i in $(seq 40); do head -c 12 /dev/urandom | od -An -tx1 | tr -d " "; done; cat /proc/sys/kernel/random/uuid; hostname',
          ),
        ),
      )
      const lines = draws.flatMap((draw) => draw.stdout.trim().split('\n'))
      expect(new Set(lines).size).toBe(lines.length)
      // A shifted stream would repeat short runs of bytes: no run of 6 bytes stands in two sandboxes.
      const runs = draws.map((draw) => sixByteRuns(draw.stdout))
      for (const run of runs[0] ?? []) expect(runs[1]?.has(run) === true || runs[2]?.has(run) === true).toBe(false)
    } finally {
      await Promise.all(sandboxes.map((sandbox) => sandbox.kill()))
    }
  })

  it('is not found once killed, but its logs are', async () => {
    const sandbox = await client.createSandbox({ templateID: 'base', timeout: 600 })
    await sandbox.kill()
    await expect(sandbox.getDetails()).rejects.toBeInstanceOf(NotFoundError)
    await expect(sandbox.commands.run('true')).rejects.toThrow()
    expect((await sandbox.getLogs()).logs.at(-1)?.line).toBe('sandbox.lifecycle.killed')
  })

  it('ends at its deadline', async () => {
    const sandbox = await client.createSandbox({ templateID: 'base', timeout: 3 })
    const startedAt = Date.now()
    await expect
      .poll(
        () =>
          sandbox.getDetails().then(
            () => 'live',
            () => 'ended',
          ),
        { timeout: 60_000, interval: 100 },
      )
      .toBe('ended')
    expect(Date.now() - startedAt).toBeGreaterThan(1000)
    await expect
      .poll(async () => (await sandbox.getLogs()).logs.at(-1)?.line, { timeout: 60_000 })
      .toBe('sandbox.lifecycle.stopped')
  })
})

describe('the CLI', () => {
  it('creates, streams, pauses, resumes and kills, by a prefix of the id', async () => {
    const created = await installation.cli(
      'create',
      '--timeout',
      '600',
      '--env',
      'MODE=cli',
      '--metadata',
      'from=cli',
      '--json',
    )
    expect(created.code).toBe(0)
    const { sandboxID } = JSON.parse(created.stdout) as { sandboxID: string }
    const short = sandboxID.slice(0, 12)
    const echoed = await finished(
      installation.spawn('packages/cli/src/main.ts', ['exec', short, '--', 'tr a-z A-Z; echo $MODE >&2; exit 7']),
      'hello\n',
    )
    expect(echoed).toMatchObject({ code: 7, stdout: 'HELLO\n', stderr: 'cli\n' })
    expect((await installation.cli('pause', short)).code).toBe(0)
    expect((await installation.cli('ls', '--state', 'paused', '--metadata', 'from=cli', '--json')).stdout).toContain(
      sandboxID,
    )
    expect((await installation.cli('resume', short)).code).toBe(0)
    expect((await installation.cli('get', short, '--json')).stdout).toContain('"running"')
    const inspected = await installation.host(['inspect', sandboxID, '--json'])
    expect(JSON.parse(inspected.stdout)).toMatchObject({
      pid: expect.any(Number),
      netns: expect.any(String),
      address: expect.any(String),
    })
    expect((await installation.cli('kill', short)).code).toBe(0)
    expect(JSON.parse((await installation.cli('get', sandboxID, '--json')).stdout)).toMatchObject({
      state: 'killed',
      endReason: 'api',
    })
    expect((await installation.cli('ls', '--json')).stdout).not.toContain(sandboxID)
    expect((await installation.cli('get', 'sbx00000000000000000')).code).toBe(3)
  })

  it('runs a command in a sandbox of its own and passes its exit code on', async () => {
    expect(await installation.cli('run', '--', 'echo hi; exit 4')).toMatchObject({ code: 4, stdout: 'hi\n' })
  })
})

describe('the newest e2b client, unmodified', () => {
  it('creates, runs, writes, reads, lists and kills', async () => {
    const { apiURL, apiKey } = await installation.credentials()
    const options = { apiUrl: apiURL, sandboxUrl: apiURL, apiKey: apiKey.replace('lel_', 'e2b_') }
    const sandbox = await E2BSandbox.create('base', {
      ...options,
      timeoutMs: 300_000,
      metadata: { 'a b': 'c&d' },
      envs: { MODE: 'e2b' },
    })
    const result = await sandbox.commands.run('echo $MODE; whoami')
    expect(result).toMatchObject({ stdout: 'e2b\nuser\n', exitCode: 0 })
    await sandbox.files.write('notes/a.txt', 'written')
    expect(await sandbox.files.read('notes/a.txt')).toBe('written')
    expect(await sandbox.files.list('notes')).toMatchObject([{ name: 'a.txt', path: '/home/user/notes/a.txt' }])
    const page = await E2BSandbox.list({ ...options, query: { metadata: { 'a b': 'c&d' } } }).nextItems()
    expect(page.map((one) => one.sandboxId)).toEqual([sandbox.sandboxId])
    expect(await sandbox.isRunning()).toBe(true)
    await sandbox.kill()
    expect(await sandbox.isRunning()).toBe(false)
  })
})

describe('the installation', () => {
  it('gives each key out once, and keeps only its hash', async () => {
    const made = JSON.parse((await installation.cli('key', 'create', 'second', '--json')).stdout) as {
      id: string
      apiKey: string
    }
    expect(made.apiKey).toMatch(/^lel_[0-9a-f]{40}$/)
    expect((await installation.cli('key', 'ls', '--json')).stdout).not.toContain(made.apiKey)
    expect((await installation.cli('key', 'rm', made.id)).code).toBe(0)
    for (const name of ['server', 'worker', 'up']) expect(await installation.log(name)).not.toContain(made.apiKey)
    expect(await readFile(`${installation.home}/client.json`, 'utf8')).not.toContain(made.apiKey)
  })

  it('exports what the SDKs need', async () => {
    const { stdout } = await installation.host(['env'])
    for (const name of [
      'LELANTOS_API_URL',
      'LELANTOS_API_KEY',
      'LELANTOS_DOMAIN',
      'E2B_API_URL',
      'E2B_SANDBOX_URL',
      'E2B_API_KEY',
      'E2B_DOMAIN',
    ])
      expect(stdout).toContain(`export ${name}='`)
  })
})

function sixByteRuns(text: string): Set<string> {
  const hex = text
    .split('\n')
    .filter((line) => /^[0-9a-f]{24}$/.test(line))
    .join('')
  const runs = new Set<string>()
  for (let at = 0; at + 12 <= hex.length; at += 2) runs.add(hex.slice(at, at + 12))
  return runs
}
