// The command as a process, against a server that speaks the wire: what it prints where, and its exit code.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { refuse } from '../../packages/sdk/src/testing/control-plane.ts'
import { WireServer } from '../../packages/sdk/src/testing/wire-server.ts'
import { hostCommands } from '../../packages/cli/src/host.ts'
import { lelantos, start } from './lelantos.ts'

let server: WireServer
let folder: string
beforeAll(async () => {
  server = await WireServer.start()
  folder = mkdtempSync(join(tmpdir(), 'lelantos-cli-'))
})
afterAll(async () => {
  await server[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
})

const running = (metadata?: Record<string, string>) =>
  server.controlPlane.add(metadata === undefined ? {} : { metadata }).sandboxID

describe('help', () => {
  it('tells of every command, of the host too, and of the exit codes', async () => {
    const { code, stdout, stderr } = await lelantos(undefined, ['--help'])
    expect([code, stderr]).toEqual([0, ''])
    const commands = [
      'create',
      'run',
      'exec',
      'cp',
      'pause',
      'resume',
      'timeout',
      'kill',
      'ls',
      'get',
      'logs',
      'metrics',
    ]
    for (const name of [...commands, 'template', 'key', ...Object.keys(hostCommands)]) {
      expect(stdout).toMatch(new RegExp(`^  ${name} `, 'm'))
    }
    for (const exitCode of [0, 1, 2, 3, 4, 5, 130]) expect(stdout).toMatch(new RegExp(`^  ${exitCode} +\\w`, 'm'))
    expect((await lelantos(undefined, ['exec', '--help'])).stdout).toContain('/bin/bash -l -c')
  })

  it('is what wrong usage gets, with exit code 2', async () => {
    const wrong: [string[], string][] = [
      [['frob'], 'no command "frob"'],
      [['up'], './lelantos up'],
      [['ls', '--frob'], "unknown option '--frob'"],
      [['exec'], "missing required argument 'id'"],
      [['exec', 'sbx1'], 'write the command to run after --'],
      [['run'], 'lelantos run -- echo hello'],
      [['create', '--timeout', 'soon'], '--timeout must be seconds'],
    ]
    const outcomes = await Promise.all(wrong.map(async ([argv]) => await lelantos(undefined, argv)))
    outcomes.forEach(({ code, stdout, stderr }, n) => {
      expect([code, stdout]).toEqual([2, ''])
      expect(stderr).toContain(wrong[n]?.[1])
    })
  })
})

describe('sandboxes', () => {
  it('are made, seen, moved and killed; ids on stdout, words on stderr', async () => {
    const made = await lelantos(server, ['create', '--timeout', '2h', '-m', 'user=u1', '-e', 'MODE=x', '-e', 'B=2'])
    expect(made).toMatchObject({ code: 0, stderr: expect.stringContaining('created from base') })
    const id = made.stdout.trim()
    expect(id).toMatch(/^sbx\w{17}$/)
    expect(JSON.parse(server.to('/sandboxes').at(-1)?.body.toString() ?? '')).toEqual({
      templateID: 'base',
      timeout: 7200,
      metadata: { user: 'u1' },
      envVars: { MODE: 'x', B: '2' },
    })
    const [listed, got, metrics, logs] = await Promise.all([
      lelantos(server, ['ls', '--metadata', 'user=u1']),
      lelantos(server, ['get', id, '--json']),
      lelantos(server, ['metrics', id]),
      lelantos(server, ['logs', id, '--json']),
    ])
    expect(listed.stdout).toMatch(new RegExp(`^ID .*\n${id}  base +running .* in 2 h +user=u1\n$`))
    expect(JSON.parse(got.stdout)).toMatchObject({ sandboxID: id, state: 'running', metadata: { user: 'u1' } })
    expect(metrics.stdout).toContain('100 MiB of 512 MiB (20 %)')
    expect((JSON.parse(logs.stdout) as { line: string }[]).map(({ line }) => line)).toContain(
      'sandbox.lifecycle.running',
    )
    expect(await lelantos(server, ['pause', id])).toMatchObject({ code: 0, stdout: `${id}\n`, stderr: 'paused\n' })
    expect(await lelantos(server, ['pause', id])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('paused already'),
    })
    const resumed = await lelantos(server, ['resume', id, '--timeout', '60', '--json'])
    expect(JSON.parse(resumed.stdout)).toEqual({ sandboxID: id, state: 'running' })
    expect(await lelantos(server, ['timeout', id, '0'])).toMatchObject({ code: 0, stderr: 'never expires\n' })
    const missing = `sbx${'9'.repeat(17)}`
    const killed = await lelantos(server, ['kill', id, missing])
    expect(killed).toMatchObject({ code: 3, stdout: `${id}\n`, stderr: expect.stringContaining('killed 1 of 2') })
    expect((await lelantos(server, ['ls', '--all', '--state', 'killed'])).stdout).toContain(id)
  })

  it('print no token', async () => {
    const id = running()
    for (const argv of [
      ['create', '--json'],
      ['get', id, '--json'],
      ['get', id],
    ]) {
      const { stdout, stderr } = await lelantos(server, argv)
      expect(stdout + stderr).not.toContain('token-of-')
    }
  })

  it('are named by any prefix that fits one', async () => {
    server.controlPlane.add({ sandboxID: 'sbxqqa00000000000000' })
    server.controlPlane.add({ sandboxID: 'sbxqqb00000000000000' })
    expect((await lelantos(server, ['get', 'sbxqqa'])).stdout).toContain('sbxqqa00000000000000')
    expect((await lelantos(server, ['get', 'qqb'])).stdout).toContain('sbxqqb00000000000000')
    expect(await lelantos(server, ['get', 'qq'])).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(/fits 2 sandboxes.*sbxqqa0+ \(running.*sbxqqb0+/),
    })
    expect(await lelantos(server, ['get', 'zzz'])).toMatchObject({ code: 3 })
    expect(await lelantos(server, ['get', 'A/..'])).toMatchObject({ code: 2 })
  })
})

describe('exec', () => {
  it('passes both streams, the words as they are, and the exit code', async () => {
    const id = running()
    const [words, shell, json] = await Promise.all([
      lelantos(server, ['exec', id, '--', 'printf', '%s|', 'a  b', '$HOME', '--json']),
      lelantos(server, [
        'exec',
        id,
        '-e',
        'A=1',
        '--cwd',
        '/tmp',
        '-u',
        'user',
        '--',
        'echo $A $PWD; echo err >&2; exit 7',
      ]),
      lelantos(server, ['exec', id, '--json', '--', 'echo ü; exit 2']),
    ])
    expect(words).toEqual({ code: 0, stdout: 'a  b|$HOME|--json|', stderr: '' })
    expect(shell).toEqual({ code: 7, stdout: '1 /tmp\n', stderr: 'err\n' })
    expect(json.code).toBe(2)
    expect(JSON.parse(json.stdout)).toEqual({ stdout: 'ü\n', stderr: '', exitCode: 2 })
    expect(server.guest.users).toEqual(expect.arrayContaining(['root:', 'user:']))
  })

  it('takes what is piped, and no input where there is none', async () => {
    const id = running()
    const long = 'x'.repeat(700_000)
    expect(await lelantos(server, ['exec', id, '--', 'wc', '-c'], { input: long })).toMatchObject({
      stdout: '700000\n',
    })
    expect(await lelantos(server, ['exec', id, '--', 'cat'])).toEqual({ code: 0, stdout: '', stderr: '' })
  })

  it('gives output before the end, and ends the command on Ctrl-C', async () => {
    const one = start(server, ['exec', running(), '--', 'echo started; sleep 600'])
    await new Promise((resolve) => one.child.stdout?.once('data', resolve))
    one.child.kill('SIGINT')
    expect(await one.ended).toMatchObject({ code: 130, stdout: 'started\n' })
    await expect.poll(() => server.guest.running, { timeout: 20_000 }).toBe(0)
  })

  it('is quiet when its reader goes, and ends the command', async () => {
    const one = start(server, ['exec', running(), '--', 'yes'])
    await new Promise((resolve) => one.child.stdout?.once('data', resolve))
    one.child.stdout?.destroy()
    expect(await one.ended).toMatchObject({ code: 141, stderr: '' })
    await expect.poll(() => server.guest.running, { timeout: 20_000 }).toBe(0)
  })
})

describe('run', () => {
  const states = () => [...server.controlPlane.sandboxes.values()].filter(({ metadata }) => metadata['of'] === 'run')

  it('kills its sandbox, whatever the end', async () => {
    expect(await lelantos(server, ['run', '-m', 'of=run', '--', 'echo hi; exit 5'])).toMatchObject({
      code: 5,
      stdout: 'hi\n',
    })
    expect(await lelantos(server, ['run', '-m', 'of=run', '--', 'no-such-program'])).toMatchObject({ code: 2 })
    const one = start(server, ['run', '-m', 'of=run', '--', 'echo hi; sleep 600'])
    await new Promise((resolve) => one.child.stdout?.once('data', resolve))
    one.child.kill('SIGTERM')
    expect(await one.ended).toMatchObject({ code: 143 })
    expect(states().map(({ state }) => state)).toEqual(['killed', 'killed', 'killed'])
  })
})

describe('cp', () => {
  it('copies either way, whole, into folders and through pipes', async () => {
    const id = running()
    const [from, to] = [join(folder, 'from'), join(folder, 'to')]
    const bytes = Buffer.alloc(3_000_000, 'ab\0\xff')
    writeFileSync(from, bytes)
    expect(await lelantos(server, ['cp', from, `${id}:/d/`])).toMatchObject({ code: 0, stderr: 'copied 2.9 MiB\n' })
    expect(await lelantos(server, ['cp', `${id}:/d/from`, to, '--json'])).toMatchObject({ code: 0 })
    expect(readFileSync(to).equals(bytes)).toBe(true)
    expect(await lelantos(server, ['cp', '-', `${id}:/d`], { input: 'x' })).toMatchObject({ code: 2 })
    expect(await lelantos(server, ['cp', '-', `${id}:/d/piped`], { input: 'piped' })).toMatchObject({ code: 0 })
    expect((await lelantos(server, ['cp', `${id}:/d/piped`, '-'])).stdout).toBe('piped')
    expect(await lelantos(server, ['cp', from, `${id}:/d`])).toMatchObject({ code: 0 })
  })

  it('says what is missing, and leaves no half file', async () => {
    const id = running()
    expect(await lelantos(server, ['cp', `${id}:/none`, join(folder, 'none')])).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('/none'),
    })
    expect(() => readFileSync(join(folder, 'none'))).toThrow('ENOENT')
    expect(await lelantos(server, ['cp', join(folder, 'none'), `${id}:/x`])).toMatchObject({ code: 3 })
    expect(await lelantos(server, ['cp', folder, `${id}:/x`])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('tar c'),
    })
    expect(await lelantos(server, ['cp', 'a', 'b'])).toMatchObject({ code: 2 })
  })
})

describe('keys and templates', () => {
  it('are listed, made and deleted', async () => {
    const made = await lelantos(server, ['key', 'create', 'ci'])
    expect(made.stdout).toMatch(/^lel_[0-9a-f]{40}\n$/)
    const listed = JSON.parse((await lelantos(server, ['key', 'ls', '--json'])).stdout) as { id: string }[]
    expect(await lelantos(server, ['key', 'rm', listed[0]?.id ?? ''])).toMatchObject({ code: 0 })
    expect(await lelantos(server, ['key', 'rm', listed[0]?.id ?? ''])).toMatchObject({ code: 3 })
    expect((await lelantos(server, ['template', 'ls'])).stdout).toMatch(/^NAME .*\nbase /)
  })
})

describe('failures', () => {
  it('have an exit code each, one line, and no stack or key unless asked', async () => {
    const key = `lel_${'e'.repeat(40)}`
    const gone = await WireServer.start()
    await gone[Symbol.asyncDispose]()
    const [none, wrong, away, debug] = await Promise.all([
      lelantos(undefined, ['ls']),
      lelantos(server, ['ls'], { env: { LELANTOS_API_KEY: key } }),
      lelantos(gone, ['ls']),
      lelantos(gone, ['ls'], { env: { LELANTOS_DEBUG: '1' } }),
    ])
    expect([none.code, wrong.code, away.code]).toEqual([4, 4, 5])
    expect(away.stderr).toContain('connection refused; is it up? ./lelantos up')
    for (const { stderr, stdout } of [none, wrong, away]) {
      expect(stdout).toBe('')
      expect(stderr).toMatch(/^lelantos: [^\n]+\n$/)
    }
    expect(debug.stderr).toContain('caused by')
    expect(wrong.stderr + debug.stderr).not.toMatch(new RegExp(`${key}|${gone.apiKey}`))
  })

  it('tell of a full installation after it was asked again', async () => {
    await using full = await WireServer.start()
    full.intercept = (_, response) => {
      refuse(response, 503, 'capacity_unavailable', 'no worker has room for 512 MB', '0')
      return true
    }
    const { code, stderr } = await lelantos(full, ['create'])
    expect([code, full.requests.length]).toEqual([5, 4])
    expect(stderr).toContain('no worker has room for 512 MB (request req-1); kill or pause a sandbox first')
  })
})
