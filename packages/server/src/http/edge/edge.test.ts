// The edge before a real guest's stand-in: an HTTP server on a loopback port, in whose place a VM's port would be.
import http, { type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { envdAccessToken, ports, silentLog } from '@lelantos-ai/contract'
import { targetOf } from '../target.ts'
import { answers, send } from './answers.ts'
import { Edge } from './edge.ts'
import type { Location } from './location.ts'

const ID = 'sbx00000000000000001'
const TEAM = 'team1'
const KEY = `lel_${'ab'.repeat(20)}`
const installationKey = Buffer.alloc(32, 7)
const TOKEN = envdAccessToken(installationKey, ID)

interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: string[]
}

let seen: Seen[]
let answer: (request: IncomingMessage, response: ServerResponse) => void
let guest: Server
let guestPort: number
let edge: Edge
let front: Server
let frontPort: number
let location: Location | Error
/** Where the in-VM API's port leads here: the guest's stand-in listens on a port of its own. */
let clients: http.Agent

beforeEach(async () => {
  seen = []
  answer = (_request, response) => response.end('hello')
  guest = http.createServer((request, response) => {
    seen.push({ method: request.method ?? '', url: request.url ?? '', headers: request.rawHeaders })
    answer(request, response)
  })
  guestPort = await listen(guest)
  location = { at: 'running', teamID: TEAM, address: '127.0.0.1', machine: 'one' }
  edge = new Edge({
    log: silentLog,
    locate: async (id) => {
      if (location instanceof Error) throw location
      return id === ID ? location : { at: 'absent' }
    },
    credentials: {
      authenticate: async (key) => (key.slice(4) === KEY.slice(4) ? { teamID: TEAM } : undefined),
      token: (id) => envdAccessToken(installationKey, id),
    },
  })
  clients = new http.Agent({ keepAlive: true })
  front = http.createServer()
  const dispatch = (request: IncomingMessage, response: ServerResponse): void => {
    const target = targetOf(request.headers, 'localhost')
    if (target.kind === 'sandbox') void edge.request(request, response, target)
    else send(answers.malformed(target.kind), request, response)
  }
  front.on('request', dispatch)
  front.on('checkContinue', dispatch)
  front.on('upgrade', (request, socket, head) => {
    const target = targetOf(request.headers, 'localhost')
    if (target.kind === 'sandbox') void edge.upgrade(request, socket, head, target)
  })
  frontPort = await listen(front)
})

afterEach(async () => {
  clients.destroy()
  edge.close()
  for (const server of [front, guest]) {
    server.closeAllConnections()
    if (server.listening) await new Promise((resolve) => server.close(resolve))
  }
})

async function listen(server: Server, port = 0): Promise<number> {
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

interface Asked {
  readonly port?: number
  readonly path?: string
  readonly method?: string
  readonly headers?: http.OutgoingHttpHeaders
  readonly body?: string
}

function open({ port = guestPort, path = '/', method = 'GET', headers = {} }: Asked = {}): http.ClientRequest {
  const host = `${port}-${ID}.localhost`
  return http.request({ port: frontPort, method, path, agent: clients, headers: { host, ...headers } })
}

async function ask(
  asked: Asked = {},
): Promise<{ status: number; headers: http.IncomingHttpHeaders; body: string; trailers: NodeJS.Dict<string> }> {
  const request = open(asked)
  request.end(Buffer.from(asked.body ?? ''))
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  let body = ''
  for await (const chunk of response) body += String(chunk)
  return { status: response.statusCode ?? 0, headers: response.headers, body, trailers: response.trailers }
}

function header(n: number, name: string): string | undefined {
  const { headers } = seen[n] as Seen
  const at = headers.findIndex((text, index) => index % 2 === 0 && text.toLowerCase() === name)
  return at < 0 ? undefined : headers[at + 1]
}

describe('a request to a port of a sandbox', () => {
  it('arrives as it was sent, and so does the answer', async () => {
    answer = (request, response) => {
      response.writeHead(418, 'Teapot', [
        ['Set-Cookie', 'a=1'],
        ['Set-Cookie', 'b=2'],
        ['X-Mixed-Case', 'kept'],
      ] as never)
      request.pipe(response)
    }
    const reply = await ask({
      method: 'POST',
      path: '/a%2Fb?c=d%20e',
      body: 'x'.repeat(100_000),
      headers: { 'X-Mine': 'ü' },
    })
    expect(reply).toMatchObject({ status: 418, body: 'x'.repeat(100_000) })
    expect(reply.headers['set-cookie']).toEqual(['a=1', 'b=2'])
    expect(seen[0]).toMatchObject({ method: 'POST', url: '/a%2Fb?c=d%20e' })
    expect(header(0, 'x-mine')).toBe('ü')
    expect(header(0, 'host')).toBe(`${guestPort}-${ID}.localhost`)
  })

  it('says who asked, and passes no header of the connection on', async () => {
    await ask({
      headers: { connection: 'X-Secret, keep-alive', 'X-Secret': '1', 'proxy-authorization': 'x', te: 'trailers' },
    })
    expect(header(0, 'x-forwarded-for')).toBe('127.0.0.1')
    expect(header(0, 'x-forwarded-proto')).toBe('http')
    expect(header(0, 'x-forwarded-host')).toBe(`${guestPort}-${ID}.localhost`)
    expect(header(0, 'x-secret')).toBeUndefined()
    expect(header(0, 'proxy-authorization')).toBeUndefined()
    expect(header(0, 'te')).toBe('trailers')
  })

  it('carries trailers both ways', async () => {
    let received: NodeJS.Dict<string> = {}
    answer = (request, response) => {
      request.resume().on('end', () => {
        received = request.trailers
        response.writeHead(200, { trailer: 'X-Sum' })
        response.write('body')
        response.addTrailers({ 'X-Sum': '42' })
        response.end()
      })
    }
    const request = open({ method: 'POST', headers: { 'transfer-encoding': 'chunked', trailer: 'X-Up' } })
    request.write('part')
    request.addTrailers({ 'X-Up': '7' })
    request.end()
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    response.resume()
    await once(response, 'end')
    expect(received).toEqual({ 'x-up': '7' })
    expect(response.trailers).toEqual({ 'x-sum': '42' })
  })

  it('streams both ways at once, each chunk as it comes', async () => {
    answer = (request, response) => {
      response.writeHead(200)
      request.on('data', (chunk: Buffer) => response.write(`echo ${String(chunk)}`))
      request.on('end', () => response.end('bye'))
    }
    const request = open({ method: 'POST' })
    const arrived = once(request, 'response') as Promise<[IncomingMessage]>
    request.write('one')
    const [response] = await arrived
    expect(String((await once(response, 'data'))[0])).toBe('echo one')
    request.write('two')
    expect(String((await once(response, 'data'))[0])).toBe('echo two')
    request.end()
    expect(String((await once(response, 'data'))[0])).toBe('bye')
  })

  it('sends the head of a response before its body', async () => {
    let finish = (): void => {}
    answer = (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.flushHeaders()
      finish = () => response.end('data')
    }
    const request = open()
    request.end()
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    expect(response.headers['content-type']).toBe('text/event-stream')
    finish()
    expect(String((await once(response, 'data'))[0])).toBe('data')
  })

  it('asks the guest before a client sends what it expects to be refused', async () => {
    answer = (request, response) => void request.resume().on('end', () => response.end())
    const request = open({ method: 'PUT', headers: { expect: '100-continue', 'content-length': 4 } })
    request.flushHeaders()
    await once(request, 'continue')
    request.end('body')
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    expect(response.resume().statusCode).toBe(200)
    expect(header(0, 'expect')).toBe('100-continue')
  })

  it('ends at the guest when the client goes', async () => {
    const closed = new Promise<void>((resolve) => {
      answer = (request, response) => {
        response.write('begun')
        request.socket.once('close', () => resolve())
      }
    })
    const request = open()
    request.on('error', () => {})
    request.end()
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    await once(response, 'data')
    request.destroy()
    await closed
  })

  it('is 502 when the guest changes to a protocol that nobody asked for', async () => {
    guest.removeAllListeners('request')
    guest.on('connection', (socket) => {
      socket.once('data', () => socket.write('HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: odd\r\n\r\n'))
    })
    const reply = await ask()
    expect([reply.status, JSON.parse(reply.body)]).toMatchObject([502, { message: 'The sandbox did not answer' }])
  })

  it('breaks off at the client when the guest does', async () => {
    answer = (request, response) => {
      response.writeHead(200, { 'content-length': 100 })
      response.write('part', () => request.socket.destroy())
    }
    const request = open()
    request.end()
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    await expect(
      (async () => {
        for await (const _ of response);
      })(),
    ).rejects.toThrow('aborted')
  })

  it('waits for a client that reads slowly', async () => {
    const chunk = Buffer.alloc(1 << 20)
    let written = 0
    let full = false
    answer = (_request, response) => {
      const more = (): void => {
        while (written < 60) {
          written++
          if (!response.write(chunk)) {
            full = true
            return void response.once('drain', more)
          }
        }
        response.end()
      }
      more()
    }
    const request = open()
    request.end()
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    response.pause()
    let before = -1
    await expect.poll(() => full && before === (before = written), { interval: 100 }).toBe(true)
    expect(written).toBeLessThan(40)
    let bytes = 0
    for await (const part of response as AsyncIterable<Buffer>) bytes += part.length
    expect(bytes).toBe(60 << 20)
  }, 30_000)

  it('opens a new connection when the guest has closed a kept one', async () => {
    guest.keepAliveTimeout = 1
    answer = (request, response) => {
      response.end('x')
      setImmediate(() => request.socket.end())
    }
    for (let n = 0; n < 50; n++) expect((await ask()).status).toBe(200)
  })

  it('serves a thousand at once', async () => {
    answer = (request, response) => void request.resume().on('end', () => response.end(request.url))
    const replies = await Promise.all(
      Array.from({ length: 1000 }, (_, n) =>
        ask({ path: `/${n}`, method: n % 2 ? 'POST' : 'GET', body: n % 2 ? 'b' : '' }),
      ),
    )
    replies.forEach((reply, n) => expect([reply.status, reply.body]).toEqual([200, `/${n}`]))
  }, 30_000)

  it('keeps keys of the installation from the guest, and lets everything else pass', async () => {
    const other = `lel_${'cd'.repeat(20)}`
    const basic = `Basic ${Buffer.from(`user:${KEY}`).toString('base64')}`
    await ask({
      headers: { 'x-api-key': KEY, authorization: `Bearer ${KEY}`, cookie: `a=1; k=${KEY}`, 'x-other': other },
    })
    await ask({ headers: { authorization: basic, 'x-api-key': KEY.replace('lel_', 'e2b_') } })
    await ask({ headers: { authorization: 'Bearer theirs', 'x-access-token': 'theirs' } })
    expect(JSON.stringify(seen)).not.toContain(KEY.slice(4))
    expect(header(0, 'authorization')).toBeUndefined()
    expect(header(0, 'cookie')).toBe('a=1; k=')
    expect(header(0, 'x-other')).toBe(other)
    expect(header(1, 'authorization')).toBeUndefined()
    expect(header(2, 'authorization')).toBe('Bearer theirs')
    expect(header(2, 'x-access-token')).toBe('theirs')
  })
})

describe('an upgrade', () => {
  it('becomes a pipe', async () => {
    guest.on('upgrade', (request, socket) => {
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Path: ${request.url}\r\n\r\nfirst`,
      )
      socket.on('data', (chunk) => socket.write(`echo ${String(chunk)}`))
      socket.on('end', () => socket.end())
    })
    const request = open({ path: '/ws', headers: { connection: 'Upgrade', upgrade: 'websocket' } })
    request.end()
    const [response, socket, head] = (await once(request, 'upgrade')) as [IncomingMessage, net.Socket, Buffer]
    expect(response.headers['x-path']).toBe('/ws')
    let text = String(head)
    socket.on('data', (chunk) => (text += String(chunk)))
    await expect.poll(() => text).toBe('first')
    socket.write('hi')
    await expect.poll(() => text).toBe('firstecho hi')
    location = { at: 'absent' }
    await once(socket, 'close') // the sandbox is gone: the sweep cuts what hangs on it
  })

  it('that the guest refuses ends the connection', async () => {
    guest.on('upgrade', (_request, socket) => socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno'))
    const request = open({ headers: { connection: 'Upgrade', upgrade: 'websocket' } })
    request.end()
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    expect(response.statusCode).toBe(403)
    expect(String((await once(response, 'data'))[0])).toBe('no')
    expect(response.headers.connection).toBe('close')
  })
})

describe('what the edge answers itself', () => {
  it('in the words that E2B clients know', async () => {
    const unknown = await ask({ headers: { host: '3000-sbxother.localhost' } })
    expect([unknown.status, JSON.parse(unknown.body)]).toEqual([
      502,
      { sandboxId: 'sbxother', message: 'The sandbox was not found', code: 502 },
    ])
    const free = await freePort()
    const closed = await ask({ port: free })
    expect([closed.status, JSON.parse(closed.body)]).toEqual([
      502,
      { sandboxId: ID, message: 'The sandbox is running but port is not open', port: free, code: 502 },
    ])
    location = { at: 'moving' }
    expect((await ask()).status).toBe(409)
    location = { at: 'absent' }
    expect((await ask()).status).toBe(502)
    expect((await ask({ headers: { host: `99999-${ID}.localhost` } })).status).toBe(400)
  })

  it('as a page to a browser', async () => {
    location = { at: 'absent' }
    const agent = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/130.0 Safari/537.36'
    const page = await ask({ headers: { 'user-agent': agent, accept: 'text/html,*/*' } })
    expect(page.status).toBe(502)
    expect(page.headers['content-type']).toContain('text/html')
    expect(page.body).toContain('The sandbox was not found')
  })

  it('when the store is away', async () => {
    location = new Error('away')
    expect((await ask()).status).toBe(503)
  })
})

describe('the in-VM API', () => {
  // The guest daemon's port is fixed: its stand-in has to listen there, on an address of loopback that nothing else uses.
  beforeEach(async () => {
    await new Promise((resolve) => guest.close(resolve))
    const address = `127.${(process.pid >> 8) % 254 || 1}.${process.pid % 254}.49`
    guest.listen(ports.envd, address)
    await once(guest, 'listening')
    location = { at: 'running', teamID: TEAM, address, machine: 'two' }
  })
  const envd = (asked: Asked): ReturnType<typeof ask> => ask({ ...asked, port: ports.envd })

  it('needs the token of the sandbox or a key of its team', async () => {
    for (const headers of [{}, { 'x-access-token': 'wrong' }, { 'x-api-key': `lel_${'00'.repeat(20)}` }]) {
      const refused = await envd({ path: '/files?path=/a', headers })
      expect([refused.status, JSON.parse(refused.body)]).toEqual([401, { code: 401, message: expect.any(String) }])
    }
    expect(seen).toHaveLength(0)
    for (const headers of [{ 'x-access-token': TOKEN }, { 'x-api-key': KEY }, { authorization: `Bearer ${KEY}` }])
      expect((await envd({ path: '/files?path=/a', headers })).status).toBe(200)
    location = { ...(location as Extract<Location, { at: 'running' }>), teamID: 'team2' }
    expect((await envd({ path: '/files?path=/a', headers: { 'x-api-key': KEY } })).status).toBe(401)
  })

  it('gets the token of the sandbox and no other credentials', async () => {
    const basic = `Basic ${Buffer.from('user:').toString('base64')}`
    await envd({
      path: '/rpc',
      method: 'POST',
      headers: { 'x-api-key': KEY, 'x-admin-token': 'a', authorization: `Bearer ${KEY}` },
    })
    await envd({
      path: '/process.Process/List',
      method: 'POST',
      headers: { 'x-access-token': TOKEN, authorization: basic },
    })
    expect(JSON.stringify(seen)).not.toContain(KEY.slice(4))
    for (const name of ['x-api-key', 'x-admin-token', 'authorization']) expect(header(0, name)).toBeUndefined()
    expect([header(0, 'x-access-token'), header(1, 'x-access-token')]).toEqual([TOKEN, TOKEN])
    expect(header(1, 'authorization')).toBe(basic)
  })

  it('has an open /health and no way to what is the worker’s', async () => {
    expect((await envd({ path: '/health' })).status).toBe(200)
    const paths = [
      '/init',
      '/freeze',
      '/unfreeze',
      '/collapse',
      '/fsfreeze',
      '/fsthaw',
      '/upgrade',
      '/sync',
      '//init',
      '/./init',
      '/%69nit',
      '/rpc/../init',
      '/',
    ]
    for (const path of paths) {
      const hidden = await envd({ path, method: 'POST', headers: { 'x-access-token': TOKEN } })
      expect([path, hidden.status]).toEqual([path, 404])
    }
    expect(seen).toHaveLength(1)
  })

  it('answers at the host without a port', async () => {
    expect(
      (
        await ask({
          path: '/rpc',
          method: 'POST',
          headers: { host: `${ID.toUpperCase()}.localhost`, 'x-access-token': TOKEN },
        })
      ).status,
    ).toBe(200)
  })

  it('answers where headers name the sandbox', async () => {
    const headers = {
      host: `127.0.0.1:${frontPort}`,
      'e2b-sandbox-id': ID,
      'e2b-sandbox-port': String(ports.envd),
      'x-access-token': TOKEN,
    }
    expect((await ask({ path: '/metrics', headers })).status).toBe(200)
    expect(header(0, 'e2b-sandbox-id')).toBeUndefined()
  })
})

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
