import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { LelantosClient } from '../client.ts'
import { CapacityError, errorFromReply, retryAfterSeconds } from '../errors.ts'
import { refuse } from '../testing/control-plane.ts'
import { WireServer } from '../testing/wire-server.ts'
import { retryDelayMs } from './api.ts'

let server: WireServer
let client: LelantosClient

beforeEach(async () => {
  server = await WireServer.start()
  client = new LelantosClient({ apiKey: server.apiKey, baseURL: server.url })
})
afterEach(async () => await server[Symbol.asyncDispose]())

/** Refuses the first `times` requests. */
function refuseFirst(times: number, status: number, error: string, retryAfter: string): void {
  let seen = 0
  server.intercept = (_, response) => {
    if (++seen > times) return false
    refuse(response, status, error, 'come again', retryAfter)
    return true
  }
}

describe('retries', () => {
  it('repeat a refused create with the same key, as soon as the server said', async () => {
    refuseFirst(2, 503, 'capacity_unavailable', '0.05')
    const started = performance.now()
    await client.createSandbox({ templateID: 'base' })
    expect(performance.now() - started).toBeGreaterThanOrEqual(95)
    const keys = server.to('/sandboxes').map(({ headers }) => headers['idempotency-key'])
    expect(keys).toHaveLength(3)
    expect(new Set(keys).size).toBe(1)
    expect(keys[0]).toMatch(/^[0-9a-f]{32}$/)
    await client.createSandbox({ templateID: 'base' }, { idempotencyKey: 'mine' })
    expect(server.to('/sandboxes').at(-1)?.headers['idempotency-key']).toBe('mine')
  })

  it('have a key of their own also where there is no global crypto, as in Node 18', async () => {
    vi.stubGlobal('crypto', undefined)
    try {
      await client.createSandbox({ templateID: 'base' })
      await client.createSandbox({ templateID: 'base' })
    } finally {
      vi.unstubAllGlobals()
    }
    const keys = server.to('/sandboxes').map(({ headers }) => headers['idempotency-key'])
    expect(new Set(keys).size).toBe(2)
    for (const key of keys) expect(key).toMatch(/^[0-9a-f]{32}$/)
  })

  it('stop after three, with the refusal', async () => {
    refuseFirst(99, 503, 'capacity_unavailable', '0')
    await expect(client.createSandbox({ templateID: 'base' })).rejects.toBeInstanceOf(CapacityError)
    expect(server.requests).toHaveLength(4)
  })

  it('leave a long wait to the caller', async () => {
    refuseFirst(99, 429, 'rate_limited', '3600')
    await expect(client.listSandboxes()).rejects.toMatchObject({ name: 'RateLimitError', retryAfter: 3600 })
    expect(server.requests).toHaveLength(1)
  })

  it('never repeat what twice is not once', async () => {
    refuseFirst(99, 503, 'unavailable', '0')
    await expect(client.pauseSandbox('sbx1')).rejects.toMatchObject({ name: 'UnavailableError' })
    await expect(client.createKey('ci')).rejects.toMatchObject({ code: 'unavailable' })
    expect(server.requests).toHaveLength(2)
  })

  it('meet a connection that was lost once', async () => {
    let dropped = 0
    server.intercept = (_, response) => dropped++ === 0 && response.destroy() !== undefined
    expect(await client.getTemplates()).toHaveLength(1)
    expect(server.requests).toHaveLength(2)
  })

  it('back off where the server names no time', () => {
    const refused = (status: number) => errorFromReply('x', { status, headers: new Headers() }, '')
    for (const attempt of [0, 1, 2]) {
      const wait = retryDelayMs(refused(503), attempt, 3)
      expect(wait).toBeGreaterThanOrEqual(375 * 2 ** attempt)
      expect(wait).toBeLessThanOrEqual(625 * 2 ** attempt)
    }
    expect(retryDelayMs(refused(503), 3, 3)).toBeUndefined()
    for (const status of [400, 404, 409, 500, 502, 504]) expect(retryDelayMs(refused(status), 0, 3)).toBeUndefined()
  })

  it('read Retry-After in both its forms', () => {
    const read = (value: string) =>
      retryAfterSeconds(new Headers({ 'Retry-After': value }), Date.parse('2026-01-01T00:00:00Z'))
    expect([read('7'), read('Thu, 01 Jan 2026 00:00:09 GMT'), read('soon'), read('-1')]).toEqual([7, 9, undefined, 0])
  })
})

describe('giving up', () => {
  it('throws the reason of the signal, during a request and between two', async () => {
    const reason = new Error('enough')
    const controller = new AbortController()
    server.intercept = () => {
      controller.abort(reason)
      return true
    }
    await expect(client.listSandboxes({}, { signal: controller.signal })).rejects.toBe(reason)
    await expect(client.listSandboxes({}, { signal: controller.signal })).rejects.toBe(reason)
    expect(server.requests).toHaveLength(1)

    const waiting = new AbortController()
    server.intercept = (_, response) => {
      refuse(response, 503, 'unavailable', 'later', '30')
      response.on('finish', () => setTimeout(() => waiting.abort(reason), 20))
      return true
    }
    const started = performance.now()
    await expect(client.listSandboxes({}, { signal: waiting.signal })).rejects.toBe(reason)
    expect(performance.now() - started).toBeLessThan(10_000)
  })

  it('says what did not answer, and in which time', async () => {
    server.intercept = () => true
    await expect(client.listSandboxes({}, { requestTimeoutMs: 50 })).rejects.toMatchObject({
      name: 'TimeoutError',
      code: 'timeout',
      message: `GET /sandboxes was not answered by ${server.url} in 50 ms`,
    })
    const impatient = new LelantosClient({ apiKey: server.apiKey, baseURL: server.url, timeout: 50 })
    await expect(impatient.pauseSandbox('sbx1')).rejects.toMatchObject({ code: 'timeout' })
  })

  it('counts the body in', async () => {
    server.intercept = (_, response) => response.writeHead(200).write('[') || true
    await expect(client.listSandboxes({}, { requestTimeoutMs: 50 })).rejects.toMatchObject({ code: 'timeout' })
  })
})

describe('replies', () => {
  it('become errors by status where the body says nothing', async () => {
    const name = (status: number, text = '') => errorFromReply('GET /x', { status, headers: new Headers() }, text).name
    expect([400, 401, 403, 404, 409, 413, 422, 429, 500, 501, 502, 503, 504].map((status) => name(status))).toEqual([
      'InvalidRequestError',
      'AuthenticationError',
      'AuthenticationError',
      'NotFoundError',
      'ConflictError',
      'InvalidRequestError',
      'InvalidRequestError',
      'RateLimitError',
      'LelantosError',
      'InvalidRequestError',
      'UnavailableError',
      'UnavailableError',
      'TimeoutError',
    ])
    expect(name(502, '{"message":"The sandbox was not found","code":502}')).toBe('NotFoundError')
    expect(name(503, '{"error":"capacity_unavailable","message":"full"}')).toBe('CapacityError')
  })

  it('that are not JSON, or lead elsewhere, are errors too', async () => {
    server.intercept = (_, response) => response.writeHead(200).end('<html>') !== undefined
    await expect(client.listSandboxes()).rejects.toMatchObject({ code: 'invalid_reply' })
    // Following it would carry the key to another host.
    server.intercept = (_, response) => response.writeHead(302, { Location: 'http://127.0.0.1:1/' }).end() !== undefined
    await expect(client.listSandboxes()).rejects.toMatchObject({ code: 'connection_failed' })
  })
})
