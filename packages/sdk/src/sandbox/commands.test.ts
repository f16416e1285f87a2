import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LelantosClient } from '../client.ts'
import { encodeEnvelope } from '../envd/envelope.ts'
import { WireServer } from '../testing/wire-server.ts'
import type { SandboxHandle } from './handle.ts'

let server: WireServer
let client: LelantosClient
let sandbox: SandboxHandle

beforeEach(async () => {
  server = await WireServer.start()
  client = new LelantosClient({ apiKey: server.apiKey, baseURL: server.url })
  sandbox = client.sandbox(server.controlPlane.add().sandboxID)
})
afterEach(async () => await server[Symbol.asyncDispose]())

const nothingRuns = () => expect.poll(() => server.guest.running, { timeout: 10_000 }).toBe(0)

describe('commands.run', () => {
  it('gives both streams and the exit code, which is not an error', async () => {
    const result = await sandbox.commands.run('echo out; echo err >&2; exit 3')
    expect(result).toEqual({ stdout: 'out\n', stderr: 'err\n', exitCode: 3 })
    expect(await sandbox.commands.run('kill -9 $$')).toMatchObject({ exitCode: 137 })
    expect(server.guest.users).toEqual(['root:', 'root:'])
  })

  it('sends user, folder and environment, and a list as a program with arguments', async () => {
    const options = { user: 'user', cwd: '/tmp', envs: { MODE: 'x y' } }
    expect((await sandbox.commands.run('echo $MODE; pwd', options)).stdout).toBe('x y\n/tmp\n')
    expect((await sandbox.commands.run(['printf', '%s|', 'a b', '$HOME'])).stdout).toBe('a b|$HOME|')
    expect(server.guest.users[0]).toBe('user:')
  })

  it('sends no key into a sandbox, and asks for its token once', async () => {
    await Promise.all([sandbox.commands.run('true'), sandbox.commands.run('true')])
    const starts = server.to('/process.Process/Start')
    expect(starts).toHaveLength(2)
    for (const { headers } of starts) {
      expect(headers).toMatchObject({ 'e2b-sandbox-id': sandbox.sandboxID, 'e2b-sandbox-port': '49983' })
      expect(JSON.stringify(headers)).not.toContain(server.apiKey)
    }
    expect(server.to(`/sandboxes/${sandbox.sandboxID}`)).toHaveLength(1)
  })

  it('never cuts a character, wherever the output is cut', async () => {
    server.guest.dataBytes = 1
    const seen: string[] = []
    const { stdout } = await sandbox.commands.run("printf 'aü€😀z'", { onStdout: (text) => void seen.push(text) })
    expect(stdout).toBe('aü€😀z')
    expect(seen).toEqual(['a', 'ü', '€', '😀', 'z'])
    expect((await sandbox.commands.run("printf '\\xe2\\x82'")).stdout).toBe('\ufffd')
  })

  it('gives output as it comes', async () => {
    const first = Promise.withResolvers<string>()
    const running = sandbox.commands.run('echo one; read line; echo $line', {
      onStdout: first.resolve,
      stdin: (async function* () {
        // Were output held back to the end, this would wait for ever: the command ends only after its input.
        yield await first.promise.then(() => 'two\n')
      })(),
    })
    expect((await running).stdout).toBe('one\ntwo\n')
  })

  it('passes long output through whole', async () => {
    const { stdout } = await sandbox.commands.run('head -c 3000000 /dev/zero | tr "\\0" x')
    expect(stdout).toBe('x'.repeat(3_000_000))
  })

  it('feeds standard input of any kind and length, and closes it', async () => {
    const text = 'ü'.repeat(400_000)
    const bytes = new TextEncoder().encode(text)
    const stream = new Blob([bytes]).stream()
    for (const stdin of [text, bytes, stream]) {
      expect((await sandbox.commands.run('wc -c', { stdin })).stdout.trim()).toBe('800000')
    }
    expect(await sandbox.commands.run('cat')).toEqual({ stdout: '', stderr: '', exitCode: 0 })
  })

  it('does not wait for an input that nobody reads', async () => {
    let cancelled = false
    const endless = new ReadableStream<Uint8Array>({ cancel: () => void (cancelled = true) })
    expect((await sandbox.commands.run('echo done', { stdin: endless })).stdout).toBe('done\n')
    await expect.poll(() => cancelled).toBe(true)
  })

  it('kills what outlives its deadline, and says so', async () => {
    await expect(sandbox.commands.run('sleep 600', { timeoutMs: 100 })).rejects.toMatchObject({
      name: 'TimeoutError',
      code: 'command_timeout',
    })
    await nothingRuns()
  })

  it('kills what is aborted, or whose reader or input fails', async () => {
    const reason = new Error('enough')
    const fail = () => {
      throw reason
    }
    const controller = new AbortController()
    const onStdout = () => controller.abort(reason)
    const aborted = sandbox.commands.run('echo; sleep 600', { signal: controller.signal, onStdout })
    await expect(aborted).rejects.toBe(reason)
    await expect(sandbox.commands.run('echo; sleep 600', { onStdout: fail })).rejects.toBe(reason)
    // oxlint-disable-next-line require-yield -- it fails before it has anything
    const failing = (async function* (): AsyncGenerator<Uint8Array> {
      fail()
    })()
    await expect(sandbox.commands.run('sleep 600', { stdin: failing })).rejects.toBe(reason)
    await nothingRuns()
  })

  it('says when the connection is lost, and which command it was', async () => {
    server.intercept = (request, response) => {
      if (request.path !== '/process.Process/Start') return false
      response.writeHead(200).write(encodeEnvelope({ event: { start: { pid: 7 } } }))
      setTimeout(() => response.destroy(), 20)
      return true
    }
    await expect(sandbox.commands.run('sleep 1')).rejects.toMatchObject({ name: 'ConnectionError' })
  })

  it('says when the sandbox is gone, cannot start it, or does not know the token', async () => {
    await expect(sandbox.commands.run(['no-such-program'])).rejects.toMatchObject({
      name: 'InvalidRequestError',
      message: expect.stringContaining(`running "no-such-program" in ${sandbox.sandboxID}`),
    })
    server.intercept = (request) => {
      request.headers['x-access-token'] = 'other'
      return false
    }
    await expect(sandbox.commands.run('true')).rejects.toMatchObject({ name: 'AuthenticationError' })
    server.intercept = undefined
    await sandbox.pause()
    await expect(sandbox.commands.run('true')).rejects.toMatchObject({ code: 'sandbox_not_found' })
  })
})

describe('commands.start', () => {
  it('follows, feeds and signals a command', async () => {
    const command = await sandbox.commands.start(
      'trap "echo bye; exit 5" TERM; echo $$; while :; do read -t 1 x; done',
      {
        stdin: true,
      },
    )
    const texts: string[] = []
    for await (const event of command) {
      if (event.type === 'end') expect(event.exitCode).toBe(5)
      else texts.push(new TextDecoder().decode(event.bytes))
      if (texts.length === 1 && event.type === 'stdout') await command.kill('SIGTERM')
    }
    expect(texts.join('')).toBe(`${command.pid}\nbye\n`)
    await command.kill()
    const waited = await sandbox.commands.start('exit 4')
    expect(await waited.wait()).toBe(4)
  })

  it('leaves a command running when its reader goes', async () => {
    const command = await sandbox.commands.start('echo; sleep 600')
    for await (const event of command) if (event.type === 'stdout') break
    expect(server.guest.running).toBe(1)
    await command.kill()
    await nothingRuns()
  })
})
