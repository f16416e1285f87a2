// What the API says before any verb runs: credentials, routes, bodies, validation. No store is there, and nothing here
// may need one but to find that it is away.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { FastifyInstance, InjectOptions } from 'fastify'
import { hashAPIKey, limits, type Route, routes, silentLog } from '@lelantos-ai/contract'
import { MemoryBus } from '@lelantos-ai/contract/bus-memory'
import { openContext } from '../../context.ts'
import type { Store } from '../../store/store.ts'
import { unsupported } from '../e2b/unsupported.ts'
import { Connections } from '../edge/connections.ts'
import { Guests } from '../guest/guests.ts'
import { buildAPI } from './app.ts'

const KEY = `lel_${'ab'.repeat(20)}`
const now = new Date('2026-01-02T03:04:05.678Z')
let app: FastifyInstance

beforeAll(async () => {
  const away = new Proxy({} as Store['db'], {
    get: () => () => {
      throw Object.assign(new Error('connect'), { code: 'ECONNREFUSED' })
    },
  })
  const store: Store = { db: away, patient: away, [Symbol.asyncDispose]: async () => {} }
  const context = openContext({
    store,
    bus: new MemoryBus(),
    log: silentLog,
    clock: () => now,
    installation: 'abcdef',
    installationKey: Buffer.alloc(32, 7),
    domain: 'localhost',
  })
  context.keys.set(hashAPIKey(KEY), { teamID: 'team1', keyID: 'key1' }, now.getTime())
  app = await buildAPI({ context, version: '1.2.3', guests: new Guests(context, new Connections()) })
})
afterAll(() => app.close())

type Sent = InjectOptions & { method?: string }
async function send(
  sent: Sent,
): Promise<{ status: number; headers: Record<string, unknown>; body: Record<string, unknown> }> {
  const reply = await app.inject({ ...(sent as InjectOptions), headers: { 'x-api-key': KEY, ...sent.headers } })
  return {
    status: reply.statusCode,
    headers: reply.headers,
    body: reply.body === '' ? {} : (reply.json() as Record<string, unknown>),
  }
}
const create = (payload: Sent['payload'], headers: Record<string, string> = {}) =>
  send({
    method: 'POST',
    url: '/sandboxes',
    payload: payload as string,
    headers: { 'content-type': 'application/json', ...headers },
  })

describe('every route of the table', () => {
  for (const [name, route] of Object.entries(routes) as [string, Route][]) {
    const url = route.path.replace(/\{\w+\}/g, 'x1')
    it(`${name} is there, and ${route.auth === 'key' ? 'refuses without credentials' : 'is open'}`, async () => {
      for (const headers of [
        { 'x-api-key': '' },
        { 'x-api-key': 'lel_wrong' },
        { 'x-api-key': '', authorization: 'Bearer x' },
      ]) {
        const reply = await send({ method: route.method, url, headers })
        if (route.auth === 'none') {
          expect(reply.status).toBe(route.success.status)
          continue
        }
        expect(reply.body).toEqual({
          code: 401,
          error: 'unauthorized',
          message: expect.not.stringContaining('wrong'),
          requestId: reply.headers['x-request-id'],
        })
      }
    })
    it(`${name} names the methods that there are`, async () => {
      const reply = await send({ method: 'PATCH', url })
      expect(reply.body).toMatchObject({ code: 405, error: 'method_not_allowed' })
      expect(String(reply.headers['allow']).split(', ')).toContain(route.method)
    })
  }
})

describe('parts of E2B that are not here', () => {
  it.each(unsupported.flatMap(([methods, url, , error]) => methods.map((method) => [method, url, error] as const)))(
    '%s %s says so',
    async (method, url, error = 'not_supported') => {
      const path = url.replace(/:\w+/g, 'x1').replace('*', 'x1')
      expect((await send({ method, url: path })).body).toMatchObject({ code: error === 'forbidden' ? 403 : 501, error })
      expect((await send({ method, url: path, headers: { 'x-api-key': '' } })).status).toBe(401)
    },
  )
})

describe('a body', () => {
  it.each([
    [{}, 'templateID is required'],
    [{ templateID: '' }, 'templateID must not be empty'],
    [{ templateID: 5 }, 'templateID must be a string, got 5'],
    [{ templateID: 'x'.repeat(129) }, 'templateID must be at most 128 characters long, got 129'],
    [{ templateID: 'base', timeout: '5' }, 'timeout must be an integer, got a string'],
    [{ templateID: 'base', timeout: -1 }, 'timeout must be at least 0, got -1'],
    [{ templateID: 'base', timeout: 2_592_001 }, 'timeout must be at most 2592000, got 2592001'],
    [{ templateID: 'base', metadata: { a: 1 } }, 'metadata.a must be a string, got 1'],
    [{ templateID: 'base', metadata: [] }, 'metadata must be an object, got an array'],
    [
      { templateID: 'base', envVars: { 'A-B': 'x' } },
      'a name in envVars must match ^[A-Za-z_][A-Za-z0-9_]*$, got "A-B"',
    ],
    [
      { templateID: 'base', metadata: { a: 'x'.repeat(70_000) } },
      'metadata must be at most 65536 bytes in all, got 70001',
    ],
    [
      { templateID: 'base', metadata: { a: 'x\0' } },
      'metadata.a must be text without NUL characters and lone surrogates',
    ],
    [
      { templateID: 'base', metadata: { a: '\ud800' } },
      'metadata.a must be text without NUL characters and lone surrogates',
    ],
    [
      { templateID: 'base', envVars: { A: 'x'.repeat(131_070) } },
      'envVars.A must be at most 131071 bytes with its name, got 131072',
    ],
    [
      { templateID: 'base', envVars: { A: '\u0001'.repeat(50_000), B: '\u0001'.repeat(50_000) } },
      'envVars must be at most 524288 bytes as JSON, got 600015',
    ],
    [[], 'the body must be an object, got an array'],
    [undefined, 'the body must be an object, got null'],
  ])('is refused by field, fault and limit: %o', async (body, message) => {
    const reply = await create(body === undefined ? undefined : JSON.stringify(body))
    expect(reply.body).toMatchObject({ code: 400, error: 'bad_request', message })
  })

  it('that is no JSON is refused without being quoted', async () => {
    const reply = await create('{"envVars": {"SECRET": "hunter2" oops}}')
    expect(reply.body).toMatchObject({ code: 400, message: expect.stringContaining('is not JSON') })
    expect(JSON.stringify(reply.body)).not.toContain('hunter2')
  })

  it('may be nested so deep and no deeper', async () => {
    const nested = (depth: number) => `{"templateID":"base","x":${'['.repeat(depth)}${']'.repeat(depth)}}`
    expect((await create(nested(limits.jsonDepth - 1))).status).toBe(503) // as far as the store
    for (const depth of [limits.jsonDepth, 20_000])
      expect((await create(nested(depth))).body).toMatchObject({
        code: 400,
        message: 'the body must be nested at most 64 deep',
      })
    expect((await create(`{"templateID":"base","x":"${'['.repeat(100)}"}`)).status).toBe(503)
  })

  it('has a length and a type', async () => {
    expect((await create('x'.repeat(limits.bodyBytes + 1))).body).toMatchObject({
      code: 413,
      error: 'payload_too_large',
    })
    const typed = { 'content-type': 'application/x-www-form-urlencoded' }
    expect((await create('a=b', typed)).body).toMatchObject({ code: 415, error: 'unsupported_media_type' })
    expect((await create('{}', { 'content-type': 'application/octet-stream' })).status).toBe(415)
    expect((await create('{"__proto__":{"a":1},"templateID":"base"}')).status).toBe(400)
  })

  it('may have fields that nobody knows', async () => {
    expect((await create({ templateID: 'base', future: true })).status).toBe(503)
  })

  it('may not ask for what would not be given', async () => {
    for (const option of [
      { autoPause: true },
      { allow_internet_access: false },
      { network: { allowOut: [] } },
      { volumeMounts: [{}] },
      { mcp: {} },
    ]) {
      expect((await create({ templateID: 'base', ...option })).body).toMatchObject({
        code: 501,
        error: 'not_supported',
      })
      const v2 = { method: 'POST', url: '/v2/sandboxes', payload: { templateID: 'base', ...option } } as const
      expect((await send(v2)).status).toBe(501)
    }
    expect((await create({ templateID: 'base', autoPause: false, network: { allowPublicTraffic: true } })).status).toBe(
      503,
    )
  })
})

describe('a command', () => {
  it.each([
    [{ cmd: '\u00e9'.repeat(65_536) }, 'cmd must be at most 131071 bytes, got 131072: write a file'],
    [{ cmd: 'true', envs: { 'A=B': '1' } }, 'a name in envs must match ^[A-Za-z_][A-Za-z0-9_]*$, got "A=B"'],
    [
      { cmd: 'true', envs: { A: 'x'.repeat(131_070) } },
      'envs.A must be at most 131071 bytes with its name, got 131072',
    ],
  ])('that Linux would not start is refused by its field and limit', async (payload, message) => {
    const reply = await send({ method: 'POST', url: '/sandboxes/sbx1/exec', payload })
    expect(reply.body).toMatchObject({ code: 400, error: 'bad_request', message })
  })
})

describe('an upload', () => {
  const upload = (type: string, payload: string, query = '') =>
    send({ method: 'POST', url: `/sandboxes/sbx1/files${query}`, headers: { 'content-type': type }, payload })
  const field = (name: string, value: string) =>
    `--b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`

  it.each([
    ['multipart/form-data', field('path', '/x'), /^the multipart body is malformed: .*[Bb]oundary/],
    ['multipart/form-data; boundary=b', 'nothing of the kind', /^the multipart body is malformed: Unexpected end/],
    ['multipart/form-data; boundary=b', `${field('path', '/x')}--b--\r\n`, /^the field file is required$/],
    [
      'multipart/form-data; boundary=b',
      `${field('path', `/${'x'.repeat(5000)}`)}${field('file"; filename="f', 'x')}--b--\r\n`,
      /^path must be at most 4095 bytes long$/,
    ],
  ])('%s that is none is refused with the reason', async (type, payload, message) => {
    const reply = await upload(type, payload)
    expect(reply.body).toMatchObject({ code: 400, message: expect.stringMatching(message) })
  })

  it('has a type and a path', async () => {
    for (const type of ['application/json', 'text/plain'])
      expect((await upload(type, '{}', '?path=/x')).body).toMatchObject({
        code: 415,
        message: expect.stringContaining('multipart/form-data'),
      })
    expect((await upload('application/octet-stream', 'x', `?path=/${'\u00e9'.repeat(2048)}`)).status).toBe(400)
  })
})

describe('a query', () => {
  it.each([
    ['/sandboxes/metrics?sandbox_ids=a&sandbox_ids=b', 'sandbox_ids must be a string, got an array'],
    ['/v2/sandboxes?limit=0', 'limit must be at least 1, got 0'],
    ['/v2/sandboxes?limit=abc', 'limit must be an integer, got a string'],
    ['/v2/sandboxes?order=up', 'order must be "asc" or "desc"'],
    ['/v2/sandboxes?state=asleep', 'state must be of created, running, paused, killed, stopped, separated by commas'],
    ['/v2/sandboxes?nextToken=xx', 'nextToken must be one that an earlier page gave'],
    ['/sandboxes?metadata=user', 'metadata must be pairs, URL-encoded: user%3Du1'],
    ['/sandboxes/sbx1/files', 'path is required'],
  ])('%s is refused: %s', async (url, message) => {
    expect((await send({ method: 'GET', url })).body).toMatchObject({ code: 400, error: 'bad_request', message })
  })

  it('cannot carry what the store cannot', async () => {
    for (const url of ['/sandboxes/a%00b', '/templates/%00', '/sandboxes?metadata=a%3D%2500', '/sandboxes/%zz'])
      expect([url, (await send({ method: 'GET', url })).status]).toEqual([url, 400])
  })
})

describe('otherwise', () => {
  it('an unknown route is 404 with a body', async () => {
    const reply = await send({ method: 'GET', url: '/nowhere' })
    expect(reply.body).toEqual({
      code: 404,
      error: 'not_found',
      message: 'there is no route GET /nowhere',
      requestId: expect.stringMatching(/^req/),
    })
  })

  it('a store that is away is 503, to be tried again', async () => {
    const reply = await send({ method: 'GET', url: '/sandboxes' })
    expect(reply.body).toMatchObject({ code: 503, error: 'unavailable' })
    expect(reply.headers['retry-after']).toBe('1')
  })

  it('the key is taken from either header, behind either prefix', async () => {
    for (const headers of [
      { authorization: `Bearer ${KEY}` },
      { authorization: `bearer ${KEY.replace('lel', 'e2b')}` },
    ])
      expect((await send({ method: 'GET', url: '/sandboxes', headers: { 'x-api-key': '', ...headers } })).status).toBe(
        503,
      )
  })

  it('E2B’s clients get the health they expect', async () => {
    const reply = await app.inject({ url: '/health', headers: { 'user-agent': 'e2b-js-sdk/2.51.0' } })
    expect([reply.statusCode, reply.body]).toEqual([204, ''])
    expect((await send({ method: 'GET', url: '/health' })).body).toEqual({ status: 'ok', version: '1.2.3' })
  })

  it('an Idempotency-Key has a form', async () => {
    expect((await create({ templateID: 'base' }, { 'idempotency-key': 'x'.repeat(256) })).status).toBe(400)
    expect((await create({ templateID: 'base' }, { 'idempotency-key': 'x'.repeat(255) })).status).toBe(503)
  })
})
