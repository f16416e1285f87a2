import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LelantosClient } from '../client.ts'
import { WireServer } from '../testing/wire-server.ts'
import type { SandboxHandle } from './handle.ts'

let server: WireServer
let sandbox: SandboxHandle

beforeEach(async () => {
  server = await WireServer.start()
  const client = new LelantosClient({ apiKey: server.apiKey, baseURL: server.url })
  sandbox = await client.createSandbox({ templateID: 'base' })
})
afterEach(async () => await server[Symbol.asyncDispose]())

const bytes = Uint8Array.from({ length: 1_000_000 }, (_, n) => (n * 7) & 0xff)

describe('files', () => {
  it('carry contents of every kind both ways', async () => {
    const contents = [bytes, bytes.buffer, new Blob([bytes]), new Blob([bytes]).stream()]
    for (const content of contents) {
      expect(await sandbox.uploadFile('/data/ü %.bin', content)).toEqual({
        name: 'ü %.bin',
        path: '/data/ü %.bin',
        type: 'file',
      })
      expect(Buffer.compare(await sandbox.downloadFile('/data/ü %.bin'), bytes)).toBe(0)
      await sandbox.files.remove('/data/ü %.bin')
    }
    await sandbox.files.write('/text', 'grüße', { user: 'user' })
    expect(server.to('/files').at(-1)?.query.get('username')).toBe('user')
    expect(await sandbox.files.read('/text')).toBe('grüße')
    const stream = await sandbox.files.read('/text', { format: 'stream' })
    expect(await new Response(stream).text()).toBe('grüße')
  })

  it('are looked at, listed, moved and removed', async () => {
    expect(await sandbox.files.makeDir('/folder')).toBe(true)
    expect(await sandbox.files.makeDir('/folder')).toBe(false)
    await sandbox.files.write('/folder/a', 'abc')
    expect(await sandbox.files.list('/folder')).toMatchObject([
      { name: 'a', path: '/folder/a', type: 'file', size: 3, owner: 'root', modifiedTime: expect.any(Date) },
    ])
    expect(await sandbox.files.move('/folder/a', '/folder/b')).toMatchObject({ type: 'file' })
    expect(await sandbox.files.exists('/folder/a')).toBe(false)
    expect(await sandbox.files.exists('/folder/b')).toBe(true)
    expect(await sandbox.files.stat('/folder')).toMatchObject({ type: 'directory' })
    await sandbox.files.remove('/folder')
    await expect(sandbox.files.list('/folder')).rejects.toMatchObject({ name: 'NotFoundError', code: 'file_not_found' })
    await expect(sandbox.files.read('/folder/b')).rejects.toMatchObject({ name: 'NotFoundError' })
  })

  it('do not pass a sandbox that is gone for a file that is not there', async () => {
    await sandbox.kill()
    await expect(sandbox.files.exists('/text')).rejects.toMatchObject({ code: 'sandbox_not_found' })
  })
})
