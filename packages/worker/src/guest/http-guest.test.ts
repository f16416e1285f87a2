import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { ports } from '@lelantos-ai/contract'
import { GuestError } from './guest.ts'
import { httpGuest } from './http-guest.ts'

// The port of a guest is fixed; loopback has many addresses, so each test has a host of its own.
let last = 0
const address = () => `127.77.${process.pid % 250}.${++last}`

interface Seen {
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})

async function guest(host: string, answer: (seen: Seen, response: ServerResponse) => void): Promise<void> {
  const server = createServer((request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (text: string) => (body += text))
    request.on('end', () => answer({ path: request.url ?? '', headers: request.headers, body }, response))
  })
  servers.push(server)
  server.listen(ports.envd, host)
  await once(server, 'listening')
}

const init = { sandboxID: 'sbx1', templateID: 'base', accessToken: 't'.repeat(64), envVars: { A: '1' }, hostname: 'h' }
const within = (ms: number) => AbortSignal.timeout(ms)

describe('a guest over HTTP', () => {
  it('is sent everything that makes it unique, with a fresh time', async () => {
    const host = address()
    const seen: Seen[] = []
    await guest(host, (request, response) => {
      seen.push(request)
      response.writeHead(204).end()
    })
    await httpGuest.init(host, 'secret', init, within(5000))
    await httpGuest.init(host, 'secret', init, within(5000))
    const [first, second] = seen.map(
      ({ body }) => JSON.parse(body) as typeof init & { timestamp: string; entropy: string },
    )
    expect(seen[0]).toMatchObject({ path: '/init', headers: { 'x-control-secret': 'secret', connection: 'close' } })
    expect(first).toMatchObject(init)
    expect(Buffer.from(first?.entropy ?? '', 'base64')).toHaveLength(32)
    expect(first?.entropy).not.toBe(second?.entropy)
    expect(Math.abs(Date.now() - Date.parse(second?.timestamp ?? ''))).toBeLessThan(5000)
    await httpGuest.setClock(host, 'secret', within(5000))
    expect(Object.keys(JSON.parse(seen.at(-1)?.body ?? '{}') as object)).toEqual(['timestamp'])
  })

  it('that took the time late is sent it again until it was in time', async () => {
    const host = address()
    const bodies: object[] = []
    await guest(host, (request, response) => {
      bodies.push(JSON.parse(request.body) as object)
      setTimeout(() => response.writeHead(204).end(), bodies.length <= 2 ? 80 : 0)
    })
    await httpGuest.init(host, 'secret', init, within(5000))
    expect(bodies.length).toBeGreaterThanOrEqual(3)
    expect(bodies[0]).toHaveProperty('accessToken')
    for (const body of bodies.slice(1)) expect(Object.keys(body)).toEqual(['timestamp'])
  })

  it('is tried again until it listens', async () => {
    const host = address()
    const answered = httpGuest.healthy(host, within(10_000))
    await pause(50)
    await guest(host, (_, response) => response.writeHead(204).end())
    await answered
  })

  it('that never listens is given up at the deadline, with the reason', async () => {
    await expect(httpGuest.healthy(address(), within(100))).rejects.toThrow(GuestError)
  })

  it('that refuses is not asked again, and what it says is cut and cleaned', async () => {
    const host = address()
    let requests = 0
    await guest(host, (_, response) => {
      requests++
      response.writeHead(500).end(`no\u001b[31m\n${'x'.repeat(5000)}`)
    })
    const error = await httpGuest.init(host, 'secret', init, within(5000)).catch((e: unknown) => e)
    expect(error).toBeInstanceOf(GuestError)
    expect((error as Error).message).toMatch(/^the guest answered POST \/init with 500: no \[31m x+$/)
    expect((error as Error).message.length).toBeLessThan(400)
    expect((error as Error).message).not.toContain('secret')
    expect(requests).toBe(1)
  })

  it('cannot answer without end', async () => {
    const host = address()
    await guest(host, (_, response) => {
      response.writeHead(200)
      const flood = setInterval(() => response.write('x'.repeat(65_536)), 1)
      response.once('close', () => clearInterval(flood))
    })
    await expect(httpGuest.healthy(host, within(10_000))).rejects.toThrow(/longer than 1048576 bytes/)
  })

  it('that takes the request and says nothing is given up at the deadline', async () => {
    const host = address()
    await guest(host, () => {})
    const start = performance.now()
    await expect(httpGuest.init(host, 'secret', init, within(200))).rejects.toThrow(/did not answer POST \/init/)
    expect(performance.now() - start).toBeLessThan(2000)
  })
})
