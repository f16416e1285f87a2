// `/files` and `filesystem.Filesystem` as E2B's clients speak them, over a real socket.
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Daemon, startDaemon, testUser } from './daemon.ts'
import { call } from './wire.ts'

let daemon: Daemon
let uid: number
beforeAll(async () => {
  daemon = await startDaemon({ open: true })
  uid = Number(execFileSync('id', ['-u', testUser], { encoding: 'utf8' }))
})
afterAll(() => daemon[Symbol.asyncDispose]())

const at = (...names: string[]) => join(daemon.folder, ...names)

function files(query: Record<string, string>, init: RequestInit = {}): Promise<Response> {
  const headers = { 'X-Access-Token': daemon.token, ...(init.headers as Record<string, string> | undefined) }
  return fetch(`${daemon.url}/files?${new URLSearchParams(query).toString()}`, { ...init, headers })
}

function upload(path: string, body: NonNullable<RequestInit['body']>, query = {}, headers = {}): Promise<Response> {
  return files(
    { path, ...query },
    { method: 'POST', body, headers: { 'Content-Type': 'application/octet-stream', ...headers } },
  )
}

const rpc = (method: string, message: object) =>
  call(daemon, `filesystem.Filesystem/${method}`, { ...message, unknown: 1 })

describe('POST /files', () => {
  it('writes an octet-stream, its parents, and whose they are', async () => {
    const response = await upload(at('new', 'deep', 'file.bin'), 'content')
    expect(response.status).toBe(200)
    expect(await response.json()).toEqual([{ name: 'file.bin', path: at('new', 'deep', 'file.bin'), type: 'file' }])
    for (const path of [at('new'), at('new', 'deep'), at('new', 'deep', 'file.bin')])
      expect((await stat(path)).uid).toBe(uid)
    expect((await stat(at('new', 'deep', 'file.bin'))).mode & 0o777).toBe(0o644)
    await upload(at('roots'), 'x', { username: 'root' })
    expect((await stat(at('roots'))).uid).toBe(0)
  })

  it('writes several files of a form, named by their file names', async () => {
    const form = new FormData()
    form.append('file', new Blob(['one']), at('form', 'a.txt'))
    form.append('file', new Blob(['two']), at('form', 'b.txt'))
    const response = await files({}, { method: 'POST', body: form })
    expect(await response.json()).toEqual(
      ['a.txt', 'b.txt'].map((name) => ({ name, path: at('form', name), type: 'file' })),
    )
    expect(await readFile(at('form', 'b.txt'), 'utf8')).toBe('two')
    const twice = new FormData()
    for (const text of ['one', 'two']) twice.append('file', new Blob([text]), at('twice'))
    expect((await files({}, { method: 'POST', body: twice })).status).toBe(400)
  })

  it('takes the path from a field before the file', async () => {
    const form = new FormData()
    form.append('path', at('named.txt'))
    form.append('file', new Blob(['named']), 'other.txt')
    expect((await files({}, { method: 'POST', body: form })).status).toBe(200)
    expect(await readFile(at('named.txt'), 'utf8')).toBe('named')
  })

  it('unpacks gzip and overwrites', async () => {
    await upload(at('packed'), 'something longer that was there before')
    expect((await upload(at('packed'), gzipSync('packed'), {}, { 'Content-Encoding': 'gzip' })).status).toBe(200)
    expect(await readFile(at('packed'), 'utf8')).toBe('packed')
  })

  it('refuses with a code and a message', async () => {
    await mkdir(at('folder'))
    const refusals = await Promise.all([
      upload(at('x'), 'x', { username: 'nosuchuser' }),
      upload(at('folder'), 'x'),
      upload('', 'x'),
      upload(at('x'), 'x', {}, { 'Content-Type': 'text/plain' }),
      upload(at('x'), 'x', {}, { 'Content-Encoding': 'br' }),
      upload(at('x'), 'x', {}, { 'X-Metadata-Key': 'value' }),
    ])
    expect(refusals.map((response) => response.status)).toEqual([401, 400, 400, 415, 415, 501])
    for (const response of refusals)
      expect(await response.json()).toEqual({ code: response.status, message: expect.any(String) as string })
  })

  it('says when the disk is full', async () => {
    await mkdir(at('small'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'small', at('small')])
    try {
      const response = await upload(at('small', 'file'), randomBytes(1 << 20))
      expect(response.status).toBe(507)
      expect(await response.json()).toMatchObject({ code: 507 })
    } finally {
      execFileSync('umount', [at('small')])
    }
  })

  it('streams in constant memory', async () => {
    const chunk = randomBytes(1 << 20)
    const chunks = 256
    const hash = createHash('sha256')
    for (let n = 0; n < chunks; n++) hash.update(chunk)
    let sent = 0
    const body = new ReadableStream({
      pull: (controller) => {
        if (sent++ === chunks) controller.close()
        else controller.enqueue(new Uint8Array(chunk))
      },
    })

    const init: RequestInit & { duplex: 'half' } = {
      method: 'POST',
      body,
      duplex: 'half',
      headers: { 'Content-Type': 'application/octet-stream' },
    }
    expect((await files({ path: at('big') }, init)).status).toBe(200)
    const back = createHash('sha256')
    for await (const piece of (await files({ path: at('big') })).body!) back.update(piece)
    expect(back.digest('hex')).toBe(hash.digest('hex'))
    const status = await readFile(`/proc/${daemon.pid}/status`, 'utf8')
    expect(Number(/VmHWM:\s+(\d+)/.exec(status)![1])).toBeLessThan(65_536)
  })
})

describe('GET /files', () => {
  it('reads whole files, ranges and what has changed', async () => {
    await writeFile(at('read.txt'), '0123456789')
    const whole = await files({ path: at('read.txt') })
    expect([whole.status, await whole.text()]).toEqual([200, '0123456789'])
    expect(whole.headers.get('Content-Encoding')).toBeNull()
    const part = await files({ path: at('read.txt') }, { headers: { Range: 'bytes=2-4' } })
    expect([part.status, await part.text(), part.headers.get('Content-Range')]).toEqual([206, '234', 'bytes 2-4/10'])
    const since = { 'If-Modified-Since': whole.headers.get('Last-Modified')! }
    expect((await files({ path: at('read.txt') }, { headers: since })).status).toBe(304)
    const packed = await files({ path: at('read.txt') }, { headers: { 'Accept-Encoding': 'gzip, identity;q=0' } })
    expect([packed.headers.get('Content-Encoding'), await packed.text()]).toEqual(['gzip', '0123456789'])
    expect(await (await files({ path: '/proc/self/comm' })).text()).toBe('lelantosd\n')
  })

  it('refuses with a code and a message', async () => {
    await mkdir(at('listing'))
    execFileSync('mkfifo', [at('pipe')])
    const refusals = await Promise.all([
      files({ path: at('nothing') }),
      files({ path: at('listing') }),
      files({ path: at('pipe') }),
      files({ path: at('nothing'), username: 'nosuchuser' }),
      files({ path: '/etc/passwd' }, { headers: { 'Accept-Encoding': 'identity;q=0, br' } }),
      files({ path: 'x'.repeat(5000) }),
    ])
    expect(refusals.map((response) => response.status)).toEqual([404, 400, 400, 401, 406, 400])
    expect(await refusals[0]!.json()).toEqual({ code: 404, message: `path '${at('nothing')}' does not exist` })
  })
})

describe('Filesystem', () => {
  it('describes files, folders and links', async () => {
    await upload(at('stat', 'file.txt'), 'four')
    await symlink(at('stat', 'file.txt'), at('stat', 'link'))
    await symlink('nowhere', at('stat', 'broken'))
    const file = (await rpc('Stat', { path: at('stat', 'file.txt') })).body['entry']
    expect(file).toMatchObject({
      name: 'file.txt',
      type: 'FILE_TYPE_FILE',
      path: at('stat', 'file.txt'),
      size: '4',
      mode: 0o644,
      permissions: '-rw-r--r--',
      owner: testUser,
    })
    expect(Math.abs(Date.parse((file as { modifiedTime: string }).modifiedTime) - Date.now())).toBeLessThan(60_000)
    const link = (await rpc('Stat', { path: at('stat', 'link') })).body['entry']
    expect(link).toMatchObject({ type: 'FILE_TYPE_FILE', symlinkTarget: at('stat', 'file.txt') })
    const broken = (await rpc('Stat', { path: at('stat', 'broken') })).body['entry'] as { type?: string }
    expect(broken.type).toBeUndefined()
    expect(await rpc('Stat', { path: at('no') })).toMatchObject({ status: 404, body: { code: 'not_found' } })
  })

  it('lists in order, as deep as asked', async () => {
    for (const name of ['b/c/d.txt', 'a.txt', 'b/e.txt']) await upload(at('list', name), '')
    const list = async (depth: number) => {
      const { body } = await rpc('ListDir', { path: at('list'), depth })
      return (body['entries'] as { path: string }[]).map((entry) => entry.path.slice(at('list').length + 1))
    }
    expect(await list(0)).toEqual(['a.txt', 'b'])
    expect(await list(2)).toEqual(['a.txt', 'b', 'b/c', 'b/e.txt'])
    expect(await list(9)).toEqual(['a.txt', 'b', 'b/c', 'b/c/d.txt', 'b/e.txt'])
    expect(await rpc('ListDir', { path: at('list', 'a.txt') })).toMatchObject({ body: { code: 'invalid_argument' } })
    expect(await rpc('ListDir', { path: at('no') })).toMatchObject({ body: { code: 'not_found' } })
  })

  it('makes, moves and removes', async () => {
    const made = await rpc('MakeDir', { path: at('made', 'deep') })
    expect(made.body['entry']).toMatchObject({ name: 'deep', type: 'FILE_TYPE_DIRECTORY', owner: testUser })
    expect(await rpc('MakeDir', { path: at('made') })).toMatchObject({ status: 409, body: { code: 'already_exists' } })
    await upload(at('made', 'file'), 'x')
    expect(await rpc('MakeDir', { path: at('made', 'file') })).toMatchObject({ body: { code: 'invalid_argument' } })
    const moved = await rpc('Move', { source: at('made', 'file'), destination: at('moved', 'to', 'here') })
    expect(moved.body['entry']).toMatchObject({ name: basename(at('here')), path: at('moved', 'to', 'here') })
    expect(await rpc('Move', { source: at('made', 'file'), destination: at('x') })).toMatchObject({ status: 404 })
    expect(await rpc('Remove', { path: at('moved') })).toEqual({ status: 200, body: {} })
    expect(await rpc('Remove', { path: at('moved') })).toEqual({ status: 200, body: {} })
    expect(await rpc('Stat', { path: at('moved', 'to', 'here') })).toMatchObject({ status: 404 })
    expect(await rpc('Remove', { path: '/' })).toMatchObject({ body: { code: 'invalid_argument' } })
  })

  it('speaks the binary codec too', async () => {
    const path = new TextEncoder().encode('/etc/passwd')
    const response = await fetch(`${daemon.url}/filesystem.Filesystem/Stat`, {
      method: 'POST',
      headers: { 'X-Access-Token': daemon.token, 'Content-Type': 'application/proto', 'Connect-Protocol-Version': '1' },
      body: new Uint8Array([0x0a, path.length, ...path]),
    })
    expect([response.status, response.headers.get('Content-Type')]).toEqual([200, 'application/proto'])
    expect(Buffer.from(await response.arrayBuffer()).includes('passwd')).toBe(true)
  })

  it('answers watchers with unimplemented', async () => {
    for (const [method, message] of Object.entries({
      CreateWatcher: { path: '/tmp' },
      GetWatcherEvents: { watcherId: 'w' },
      RemoveWatcher: { watcherId: 'w' },
    }))
      expect(await rpc(method, message)).toMatchObject({ status: 501, body: { code: 'unimplemented' } })
    const compose = await fetch(`${daemon.url}/files/compose`, {
      method: 'POST',
      headers: { 'X-Access-Token': daemon.token },
    })
    expect(compose.status).toBe(501)
  })
})
