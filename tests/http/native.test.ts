// The native routes, each to its success and through its refusals, on a real PostgreSQL and guest daemon.
import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import net from 'node:net'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { envdAccessToken, limits, newID, ports, type Route, routes, type schemas } from '@lelantos-ai/contract'
import { validatorCompiler } from '@lelantos-ai/server/http/api/validation'
import { installationKey, startInstallation, type TestInstallation } from './installation.ts'

let installed: TestInstallation

beforeAll(async () => {
  installed = await startInstallation()
})
afterAll(() => installed[Symbol.asyncDispose]())

interface Reply {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly json: never
}

async function call(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Reply> {
  const reply = await fetch(installed.url + path, {
    method,
    headers: {
      'x-api-key': installed.key,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await reply.text()
  const isJSON = reply.headers.get('content-type')?.startsWith('application/json') ?? false
  return { status: reply.status, headers: reply.headers, text, json: (isJSON ? JSON.parse(text) : undefined) as never }
}

async function created(body: object = {}): Promise<{ id: string; made: schemas.Sandbox } & AsyncDisposable> {
  const reply = await call('POST', '/sandboxes', { templateID: 'base', ...body })
  expect([reply.status, reply.text]).toEqual([201, expect.any(String)])
  const made: schemas.Sandbox = reply.json
  return {
    id: made.sandboxID,
    made,
    [Symbol.asyncDispose]: async () => void (await call('DELETE', `/sandboxes/${made.sandboxID}`)),
  }
}

/** What of a value is not as the table of routes promises. */
function faults(name: keyof typeof routes, value: unknown): unknown {
  const { schema }: Route['success'] = routes[name].success
  const checked = validatorCompiler({ schema: schema as never, method: '', url: '', httpPart: 'body' })(value)
  return 'error' in (checked as object) ? (checked as { error: Error }).error.message : undefined
}

describe('a sandbox', () => {
  it('is created, read, listed, paused, resumed and killed', async () => {
    await using sandbox = await created({ metadata: { user: 'u1', 'odd key': 'a&b=c' }, timeout: 0 })
    const path = `/sandboxes/${sandbox.id}`
    expect(faults('createSandbox', sandbox.made)).toBeUndefined()
    expect(sandbox.made).toMatchObject({ state: 'running', status: 'running', alias: 'base', domain: 'localhost' })
    const detail = await call('GET', path)
    expect(faults('getSandbox', detail.json)).toBeUndefined()
    expect(detail.json).toMatchObject({ endAt: null, metadata: { user: 'u1', 'odd key': 'a&b=c' } })

    const filter = encodeURIComponent(new URLSearchParams({ 'odd key': 'a&b=c' }).toString())
    for (const url of [`/sandboxes?metadata=${filter}`, `/v2/sandboxes?metadata=${filter}`]) {
      const listed = await call('GET', url)
      expect(faults('listSandboxes', listed.json)).toBeUndefined()
      expect(listed.json).toMatchObject([{ sandboxID: sandbox.id }])
    }

    expect((await call('POST', `${path}/pause`)).status).toBe(204)
    expect((await call('POST', `${path}/pause`, {})).json).toMatchObject({ code: 409, error: 'already_paused' })
    expect((await call('POST', `${path}/exec`, { cmd: 'true' })).json).toMatchObject({
      code: 409,
      error: 'sandbox_not_running',
    })
    expect((await call('GET', '/v2/sandboxes?state=paused')).json).toMatchObject([
      { sandboxID: sandbox.id, state: 'paused' },
    ])
    expect((await call('POST', `${path}/resume`, { timeout: 60 })).json).toMatchObject({ state: 'running' })
    expect((await call('POST', `${path}/resume`)).json).toMatchObject({ code: 409, error: 'not_paused' })
    expect((await call('DELETE', path)).status).toBe(204)
    expect((await call('DELETE', path)).json).toMatchObject({ code: 404, error: 'sandbox_not_found' })
    expect((await call('GET', path)).status).toBe(404)
    const ended = await call('GET', `${path}?terminated=true`)
    expect(ended.json).toMatchObject({ state: 'killed', endReason: 'api', endedAt: expect.any(String) })
    const logs = await call('GET', `${path}/logs`)
    expect(faults('sandboxLogs', logs.json)).toBeUndefined()
    expect((logs.json as { logs: schemas.LogLine[] }).logs.map(({ line }) => line.split(/\s/)[0])).toEqual(
      ['created', 'running', 'paused', 'resumed', 'killed'].map((name) => `sandbox.lifecycle.${name}`),
    )
  })

  it('gets the timeout that its client’s documents promise', async () => {
    const left = async (path: string, agent: string): Promise<number> => {
      const reply = await call('POST', path, { templateID: 'base' }, { 'user-agent': agent })
      const { sandboxID } = reply.json as schemas.Sandbox
      const { endAt } = (await call('GET', `/sandboxes/${sandboxID}`)).json as schemas.SandboxDetail
      await call('DELETE', `/sandboxes/${sandboxID}`)
      return Math.round((Date.parse(endAt ?? '') - Date.now()) / 100) / 10
    }
    expect(Math.abs((await left('/sandboxes', 'curl')) - 86_400)).toBeLessThan(5)
    expect(Math.abs((await left('/sandboxes', 'e2b-js-sdk/2.50.0')) - 15)).toBeLessThan(5)
    expect(Math.abs((await left('/v2/sandboxes', 'e2b-js-sdk/2.51.0')) - 300)).toBeLessThan(5)
  })

  it('ends at once for an E2B client that gives it no time, and never for ours', async () => {
    await using ours = await created({ timeout: 0 })
    await using theirs = await created({ timeout: 60 })
    const e2b = { 'user-agent': 'e2b-js-sdk/2.51.0' }
    const given = await call('POST', `/sandboxes/${theirs.id}/timeout`, { timeout: 0 }, e2b)
    expect(given.status).toBe(204)
    await vi.waitFor(async () => {
      expect((await call('GET', `/sandboxes/${theirs.id}`)).status).toBe(404)
    }, 20_000)
    expect((await call('GET', `/sandboxes/${ours.id}`)).json).toMatchObject({ endAt: null })
  })

  it('has no log beyond its end', async () => {
    await using sandbox = await created()
    const logs = await call('GET', `/sandboxes/${sandbox.id}/logs?start=${Number.MAX_SAFE_INTEGER}`)
    expect([logs.status, logs.json]).toEqual([200, { logs: [] }])
  })

  it('is made once for one Idempotency-Key', async () => {
    const headers = { 'idempotency-key': newID('operation') }
    const body = { templateID: 'base', metadata: { a: '1', b: '2' } }
    const first = await call('POST', '/sandboxes', body, headers)
    const again = await call('POST', '/sandboxes', { templateID: 'base', metadata: { b: '2', a: '1' } }, headers)
    const other = await call('POST', '/sandboxes', { templateID: 'base' }, headers)
    expect((again.json as schemas.Sandbox).sandboxID).toBe((first.json as schemas.Sandbox).sandboxID)
    expect(other.json).toMatchObject({ code: 422, error: 'idempotency_mismatch' })
    await call('DELETE', `/sandboxes/${(first.json as schemas.Sandbox).sandboxID}`)
  })

  it('is listed by pages that neither lose nor repeat', async () => {
    const made = await Promise.all(Array.from({ length: 5 }, () => created({ metadata: { page: 'p' } })))
    const ids: string[] = []
    let next: string | null = ''
    do {
      const page: Reply = await call('GET', `/v2/sandboxes?limit=2&metadata=page%3Dp&nextToken=${next}`)
      ids.push(...(page.json as schemas.ListedSandbox[]).map(({ sandboxID }) => sandboxID))
      next = page.headers.get('x-next-token')
    } while (next !== null)
    expect(ids.toSorted()).toEqual(made.map(({ id }) => id).toSorted())
    for (const sandbox of made) await sandbox[Symbol.asyncDispose]()
  })

  it('that cannot be made is refused with the reason', async () => {
    expect((await call('POST', '/sandboxes', { templateID: 'nosuch' })).json).toMatchObject({
      code: 404,
      error: 'template_not_found',
    })
    installed.answerNext('create', { status: 'failed', code: 'disk_full', message: 'below the reserve' })
    expect((await call('POST', '/sandboxes', { templateID: 'base' })).json).toMatchObject({
      code: 503,
      error: 'disk_full',
    })
    installed.answerNext('create', { status: 'failed', code: 'engine', message: 'broken' })
    expect((await call('POST', '/sandboxes', { templateID: 'base' })).json).toMatchObject({
      code: 500,
      error: 'create_failed',
    })
  })

  it('of another team is not there', async () => {
    await using sandbox = await created()
    const { store } = installed.context
    const team = newID('team')
    await store.db.insertInto('teams').values({ team_id: team, name: team, created_at: new Date() }).execute()
    const { createKey } = await import('@lelantos-ai/server/keys/keys')
    const { key } = await createKey(installed.context, { teamID: team }, 'theirs')
    const theirs = { 'x-api-key': key }
    const path = `/sandboxes/${sandbox.id}`
    for (const [method, url, body] of [
      ['GET', path],
      ['DELETE', path],
      ['GET', `${path}/logs`],
      ['GET', `${path}/metrics`],
      ['GET', `${path}/files?path=/etc/hostname`],
      ['POST', `${path}/pause`],
      ['POST', `${path}/resume`],
      ['POST', `${path}/connect`, {}],
      ['POST', `${path}/timeout`, { timeout: 5 }],
      ['POST', `${path}/refresh`, { timeout: 5 }],
      ['POST', `${path}/exec`, { cmd: 'true' }],
    ] as const)
      expect([url, (await call(method, url, body, theirs)).status]).toEqual([url, 404])
    const inVM = { ...theirs, 'e2b-sandbox-id': sandbox.id, 'e2b-sandbox-port': String(ports.envd) }
    expect((await call('GET', '/metrics', undefined, inVM)).status).toBe(401)
    expect((await call('GET', '/sandboxes', undefined, theirs)).json).toEqual([])
  })
})

describe('commands', () => {
  it('run to their end, as root unless told otherwise', async () => {
    await using sandbox = await created()
    const exec = (body: object): Promise<Reply> => call('POST', `/sandboxes/${sandbox.id}/exec`, body)
    expect((await exec({ cmd: 'whoami; echo err >&2; exit 3' })).json).toEqual({
      stdout: 'root\n',
      stderr: 'err\n',
      exitCode: 3,
    })
    expect((await exec({ cmd: 'echo $A; pwd', envs: { A: 'ü' }, cwd: '/tmp' })).json).toMatchObject({
      stdout: 'ü\n/tmp\n',
    })
    expect((await exec({ cmd: 'kill -9 $$' })).json).toMatchObject({ exitCode: 137 })
    expect((await exec({ cmd: 'true', user: 'nosuch' })).json).toMatchObject({ code: 400 })
    expect((await exec({ cmd: 'sleep 60', timeout: 1 })).json).toMatchObject({ code: 504, error: 'operation_timeout' })
    expect((await exec({ cmd: `head -c ${limits.execOutputBytes + 1} /dev/zero` })).json).toMatchObject({
      code: 413,
      error: 'payload_too_large',
    })
    const most = await exec({ cmd: `head -c ${limits.execOutputBytes} /dev/zero | tr '\\0' a` })
    expect((most.json as schemas.ExecResult).stdout).toHaveLength(limits.execOutputBytes)
  })

  it('end when their client leaves', async () => {
    await using sandbox = await created()
    const mark = `lelantos-leaves-${process.pid}`
    const controller = new AbortController()
    const left = fetch(`${installed.url}/sandboxes/${sandbox.id}/exec`, {
      method: 'POST',
      signal: controller.signal,
      headers: { 'x-api-key': installed.key, 'content-type': 'application/json' },
      body: JSON.stringify({ cmd: `exec -a ${mark} sleep 300` }),
    }).catch((error: Error) => error.name)
    const running = async (): Promise<string> =>
      (
        (await call('POST', `/sandboxes/${sandbox.id}/exec`, { cmd: `pgrep -fc '^${mark}' || true` }))
          .json as schemas.ExecResult
      ).stdout
    await vi.waitFor(async () => expect(await running()).toBe('1\n'), 10_000)
    controller.abort()
    expect(await left).toBe('AbortError')
    await vi.waitFor(async () => expect(await running()).toBe('0\n'), 10_000)
  })

  it('say how much they use', async () => {
    await using sandbox = await created()
    const metrics = await call('GET', `/sandboxes/${sandbox.id}/metrics`)
    expect(faults('sandboxMetrics', metrics.json)).toBeUndefined()
    expect((metrics.json as schemas.Metric[])[0]?.memTotal).toBeGreaterThan(1 << 20)
    const all = await call('GET', `/sandboxes/metrics?sandbox_ids=${sandbox.id}`)
    expect(Object.keys((all.json as { sandboxes: object }).sandboxes)).toEqual([sandbox.id])
  })
})

describe('files', () => {
  it('go both ways, as a form and as they are', async () => {
    await using sandbox = await created()
    const url = `${installed.url}/sandboxes/${sandbox.id}/files`
    const headers = { 'x-api-key': installed.key }
    const path = `/tmp/lelantos-files-${process.pid}/a b`
    const bytes = new Uint8Array(3 << 20).map((_, n) => n * 13)
    const form = new FormData()
    form.append('path', path)
    form.append('file', new Blob([bytes]))
    const written = await fetch(url, { method: 'POST', headers, body: form })
    expect([written.status, await written.json()]).toEqual([201, [{ name: 'a b', path, type: 'file' }]])
    const query = `?path=${encodeURIComponent(path)}`
    const read = await fetch(url + query, { headers })
    expect(Buffer.compare(Buffer.from(await read.arrayBuffer()), Buffer.from(bytes))).toBe(0)
    const part = await fetch(url + query, { headers: { ...headers, range: 'bytes=1-3' } })
    expect([part.status, [...new Uint8Array(await part.arrayBuffer())]]).toEqual([206, [13, 26, 39]])

    const octets = { ...headers, 'content-type': 'application/octet-stream' }
    expect((await fetch(url + query, { method: 'POST', headers: octets, body: 'short' })).status).toBe(201)
    expect(await (await fetch(url + query, { headers })).text()).toBe('short')
    await call('POST', `/sandboxes/${sandbox.id}/exec`, { cmd: `rm -r /tmp/lelantos-files-${process.pid}` })
    expect((await call('GET', `/sandboxes/${sandbox.id}/files${query}`)).json).toMatchObject({
      code: 404,
      error: 'file_not_found',
    })
    expect((await call('GET', `/sandboxes/${sandbox.id}/files?path=/tmp`)).json).toMatchObject({ code: 400 })
  })

  it('are refused by what is missing', async () => {
    await using sandbox = await created()
    const url = `/sandboxes/${sandbox.id}/files`
    expect((await call('POST', url, {})).json).toMatchObject({ code: 415 })
    const octets = await fetch(installed.url + url, {
      method: 'POST',
      headers: { 'x-api-key': installed.key, 'content-type': 'application/octet-stream' },
      body: 'x',
    })
    expect(await octets.json()).toMatchObject({ code: 400, message: 'path is required' })
    const form = new FormData()
    form.append('file', new Blob(['x']))
    const nameless = await fetch(installed.url + url, {
      method: 'POST',
      headers: { 'x-api-key': installed.key },
      body: form,
    })
    expect(await nameless.json()).toMatchObject({
      code: 400,
      message: 'the field path must come before the field file',
    })
  })

  it('that are cut off in their form are refused, and not written', async () => {
    await using sandbox = await created()
    const path = `/tmp/lelantos-cut-${process.pid}`
    const part = (name: string, text: string) =>
      `--b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${text}\r\n`
    const reply = await fetch(`${installed.url}/sandboxes/${sandbox.id}/files`, {
      method: 'POST',
      headers: { 'x-api-key': installed.key, 'content-type': 'multipart/form-data; boundary=b' },
      body: part('path', path) + part('file"; filename="f', 'data'),
    })
    expect(await reply.json()).toMatchObject({ code: 400, error: 'bad_request', message: expect.stringMatching(/end/) })
    const left = await call('POST', `/sandboxes/${sandbox.id}/exec`, { cmd: `test -s ${path}; echo $?; rm -f ${path}` })
    expect(left.json).toMatchObject({ stdout: '1\n' })
  })

  it('that break off are not written', async () => {
    await using sandbox = await created()
    const path = `/tmp/lelantos-broken-${process.pid}`
    const request = http.request(`${installed.url}/sandboxes/${sandbox.id}/files?path=${path}`, {
      method: 'POST',
      headers: { 'x-api-key': installed.key, 'content-type': 'application/octet-stream', 'content-length': 1000 },
    })
    request.on('error', () => {})
    request.write('x'.repeat(500), () => request.destroy())
    await new Promise((resolve) => request.once('close', resolve))
    await vi.waitFor(async () => {
      const exists = await call('POST', `/sandboxes/${sandbox.id}/exec`, {
        cmd: `test -s ${path}; echo $?; rm -f ${path}`,
      })
      expect(exists.json).toMatchObject({ stdout: '1\n' })
    }, 10_000)
  })
})

describe('keys and templates', () => {
  it('a key is made, listed, used and deleted', async () => {
    const made = (await call('POST', '/api-keys', { name: 'ci' })).json as schemas.CreatedKey
    expect(made.apiKey).toMatch(/^lel_[0-9a-f]{40}$/)
    const theirs = { 'x-api-key': made.apiKey }
    expect((await call('GET', '/sandboxes', undefined, theirs)).status).toBe(200)
    const listed = await call('GET', '/api-keys')
    expect(faults('listKeys', listed.json)).toBeUndefined()
    expect(listed.text).not.toContain(made.apiKey)
    expect((await call('DELETE', `/api-keys/${made.id}`, undefined, theirs)).json).toMatchObject({
      code: 409,
      error: 'last_key',
    })
    expect((await call('DELETE', `/api-keys/${made.id}`)).status).toBe(204)
    expect((await call('GET', '/sandboxes', undefined, theirs)).status).toBe(401)
    expect((await call('DELETE', `/api-keys/${made.id}`)).json).toMatchObject({ code: 404, error: 'key_not_found' })
  })

  it('templates are read by name, id and alias', async () => {
    const listed = await call('GET', '/templates')
    expect(faults('listTemplates', listed.json)).toBeUndefined()
    const [base] = listed.json as schemas.Template[]
    expect(base?.names).toEqual(['base'])
    for (const name of ['base', base?.templateID])
      expect((await call('GET', `/templates/${name}`)).json).toMatchObject({ templateID: base?.templateID })
    expect((await call('GET', '/templates/aliases/base')).json).toEqual({ templateID: base?.templateID, public: true })
    expect((await call('GET', '/templates/nosuch')).json).toMatchObject({ code: 404, error: 'template_not_found' })
  })
})

describe('the listener', () => {
  it('refuses headers that are too long, and what is no HTTP', async () => {
    const long = await raw(`GET /health HTTP/1.1\r\nHost: x\r\nX-Long: ${'x'.repeat(70_000)}\r\n\r\n`)
    expect(long).toMatch(/^HTTP\/1\.1 431 /)
    expect(long).toContain('"error":"headers_too_large"')
    expect(await raw('nonsense\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /)
  })

  it('answers a client that offers HTTP/2', async () => {
    const offered = await raw(
      'GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\n\r\n',
    )
    expect(offered).toMatch(/^HTTP\/1\.1 200 OK/)
  })

  it('lives through a client that leaves in the middle of its body', async () => {
    const request = http.request(`${installed.url}/sandboxes`, {
      method: 'POST',
      headers: { 'x-api-key': installed.key, 'content-type': 'application/json', 'content-length': 100 },
    })
    request.on('error', () => {})
    request.write('{', () => request.destroy())
    await new Promise((resolve) => request.once('close', resolve))
    expect((await call('GET', '/health')).status).toBe(200)
  })

  it('gives the in-VM API by host, to whom the sandbox belongs', async () => {
    await using sandbox = await created()
    const token = envdAccessToken(installationKey, sandbox.id)
    const rpc = async (headers: http.OutgoingHttpHeaders): Promise<[number, string]> => {
      const request = http.request({
        port: installed.port,
        method: 'POST',
        path: '/rpc',
        headers: { host: `${sandbox.id}.localhost`, ...headers },
      })
      request.end(JSON.stringify({ method: 'exec', params: { cmd: 'echo hi' } }))
      const [reply] = (await once(request, 'response')) as [IncomingMessage]
      let text = ''
      for await (const chunk of reply) text += String(chunk)
      return [reply.statusCode ?? 0, text]
    }
    expect((await rpc({}))[0]).toBe(401)
    for (const headers of [{ 'x-access-token': token }, { 'x-api-key': installed.key }])
      expect(await rpc(headers)).toEqual([200, JSON.stringify({ stdout: 'hi\n', stderr: '', exitCode: 0 })])
  })
})

describe('without its store', () => {
  it('answers within 2 s, and traffic to sandboxes goes on', async () => {
    await using sandbox = await created()
    const inVM = { 'x-access-token': envdAccessToken(installationKey, sandbox.id), 'e2b-sandbox-id': sandbox.id }
    expect((await call('GET', '/metrics', undefined, inVM)).status).toBe(200)
    installed.killStore()
    const began = performance.now()
    await vi.waitFor(async () => {
      const since = performance.now()
      const reply = await call('POST', '/sandboxes', { templateID: 'base' })
      expect(reply.json).toMatchObject({ code: 503, error: 'unavailable' })
      expect(performance.now() - since).toBeLessThan(2000)
    }, 10_000)
    expect(performance.now() - began).toBeLessThan(12_000)
    expect((await call('GET', '/health')).status).toBe(200)
    // Long enough for the routes in memory to be no longer sure.
    while (performance.now() - began < 1500) expect((await call('GET', '/metrics', undefined, inVM)).status).toBe(200)
  })
})

async function raw(text: string): Promise<string> {
  const socket = net.connect(installed.port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(text)
  let answer = ''
  socket.on('data', (chunk) => (answer += String(chunk)))
  await once(socket, 'close')
  return answer
}
