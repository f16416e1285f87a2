// The unmodified `e2b` client against a bare daemon. The one route of E2B's API that it needs to find the daemon is
// answered here.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { ENVD_VERSION } from '@lelantos-ai/contract'
import { CommandExitError, FileNotFoundError, Sandbox, TimeoutError } from 'e2b'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { type Daemon, startDaemon, testUser } from './daemon.ts'

let daemon: Daemon
let sandbox: Sandbox
const api = createServer((request, response) => {
  request.resume().on('end', () => {
    const reply = {
      templateID: 'base',
      sandboxID: 'sbxtest',
      clientID: 'x',
      envdVersion: ENVD_VERSION,
      envdAccessToken: daemon.token,
    }
    response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(reply))
  })
})

beforeAll(async () => {
  daemon = await startDaemon({ open: true })
  await new Promise<void>((resolve) => api.listen(0, '127.0.0.1', resolve))
  sandbox = await Sandbox.connect('sbxtest', {
    apiKey: `e2b_${'0'.repeat(40)}`,
    apiUrl: `http://127.0.0.1:${(api.address() as AddressInfo).port}`,
    sandboxUrl: daemon.url,
  })
})
afterAll(async () => {
  api.close()
  await daemon[Symbol.asyncDispose]()
})

it('runs commands', async () => {
  const result = await sandbox.commands.run('echo $MODE; id -un; echo oops >&2')
  expect(result).toMatchObject({ exitCode: 0, stdout: `x\n${testUser}\n`, stderr: 'oops\n' })
  expect((await sandbox.commands.run('id -un', { user: 'root' })).stdout).toBe('root\n')
  await expect(sandbox.commands.run('exit 3')).rejects.toThrow(CommandExitError)
  await expect(sandbox.commands.run('sleep 60', { timeoutMs: 500 })).rejects.toThrow(TimeoutError)
})

it('talks to a command in the background', async () => {
  const command = await sandbox.commands.run('read line; echo got $line; sleep 60', { background: true, stdin: true })
  expect((await sandbox.commands.list()).map((listed) => listed.pid)).toContain(command.pid)
  await sandbox.commands.sendStdin(command.pid, 'hello\n')
  await vi.waitFor(() => expect(command.stdout).toBe('got hello\n'), 20_000)
  await command.disconnect()
  const again = await sandbox.commands.connect(command.pid)
  expect(await again.kill()).toBe(true)
  await expect(again.wait()).rejects.toThrow(CommandExitError)
  expect(await sandbox.commands.kill(command.pid)).toBe(false)
})

it('works with files', async () => {
  const path = join(daemon.folder, 'e2b', 'file.txt')
  const info = await sandbox.files.write(path, 'content ü')
  expect(info).toMatchObject({ name: 'file.txt', path, type: 'file' })
  expect(await sandbox.files.read(path)).toBe('content ü')
  await sandbox.files.write([
    { path: `${path}.a`, data: 'a' },
    { path: `${path}.b`, data: new Blob(['b']) },
  ])
  expect((await sandbox.files.list(join(daemon.folder, 'e2b'))).map((entry) => entry.name)).toEqual([
    'file.txt',
    'file.txt.a',
    'file.txt.b',
  ])
  expect(await sandbox.files.makeDir(join(daemon.folder, 'made'))).toBe(true)
  expect(await sandbox.files.makeDir(join(daemon.folder, 'made'))).toBe(false)
  expect((await sandbox.files.getInfo(path)).owner).toBe(testUser)
  await sandbox.files.rename(path, `${path}.new`)
  expect(await sandbox.files.exists(path)).toBe(false)
  await sandbox.files.remove(`${path}.new`)
  await expect(sandbox.files.read(path)).rejects.toThrow(FileNotFoundError)
})

it('sees that the sandbox runs', async () => {
  expect(await sandbox.isRunning()).toBe(true)
})
