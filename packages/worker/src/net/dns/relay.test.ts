// The relay on loopback, between a guest and resolvers that the test plays.
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { silentLog } from '@lelantos-ai/contract'
import { InFlight } from './in-flight.ts'
import { openRelay } from './relay.ts'
import { parseResolvConf } from './resolvers.ts'
import { serverFailure } from './udp.ts'

let folder: string
let undo: AsyncDisposableStack

beforeEach(async () => {
  folder = await mkdtemp(`${tmpdir()}/lelantos-relay-`)
  undo = new AsyncDisposableStack()
  undo.defer(() => rm(folder, { recursive: true }))
})
afterEach(() => undo.disposeAsync())

async function udp(port: number, address: string): Promise<Socket> {
  const socket = createSocket('udp4')
  undo.defer(() => void socket.close())
  socket.bind(port, address)
  await once(socket, 'listening')
  return socket
}

/** A port that is free for both transports on all of the addresses that the test uses. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

const query = Buffer.from('12340100000100000000000003777777076578616d706c650000010001', 'hex')

async function start(...nameservers: string[]) {
  const resolvConf = `${folder}/resolv.conf`
  await writeFile(resolvConf, nameservers.map((address) => `nameserver ${address}\n`).join(''))
  const [port, resolverPort] = [await freePort(), await freePort()]
  undo.use(await openRelay({ address: '127.0.0.1', port, resolvConf, resolverPort, log: silentLog }))
  return { port, resolverPort }
}

describe('the DNS relay', () => {
  it('passes queries and answers as they are, each to who asked', async () => {
    const { port, resolverPort } = await start('127.0.0.2')
    const resolver = await udp(resolverPort, '127.0.0.2')
    resolver.on('message', (message, from) => resolver.send(Buffer.concat([message, message]), from.port, from.address))
    for (const id of [1, 2]) {
      const guest = await udp(0, '127.0.0.1')
      const asked = Buffer.from(query)
      asked.writeUInt16BE(id, 0)
      guest.send(asked, port, '127.0.0.1')
      const [answer] = await once(guest, 'message', { signal: AbortSignal.timeout(10_000) })
      expect(answer).toEqual(Buffer.concat([asked, asked]))
    }
  })

  it('takes no answer with another id, nor from another resolver', async () => {
    const { port, resolverPort } = await start('127.0.0.2')
    const resolver = await udp(resolverPort, '127.0.0.2')
    const stranger = await udp(0, '127.0.0.3')
    resolver.on('message', (message, from) => {
      const forged = Buffer.from(message)
      forged.writeUInt16BE(0x4321, 0)
      resolver.send(forged, from.port, from.address)
      stranger.send(Buffer.concat([message, Buffer.from('forged')]), from.port, from.address, () =>
        resolver.send(Buffer.concat([message, Buffer.from('true')]), from.port, from.address),
      )
    })
    const guest = await udp(0, '127.0.0.1')
    guest.send(query, port, '127.0.0.1')
    const [answer] = await once(guest, 'message', { signal: AbortSignal.timeout(10_000) })
    expect(answer).toEqual(Buffer.concat([query, Buffer.from('true')]))
  })

  it('answers SERVFAIL when no resolver does, over TCP by closing', async () => {
    const { port } = await start('127.0.0.2')
    const guest = await udp(0, '127.0.0.1')
    guest.send(query, port, '127.0.0.1')
    const [answer] = await once(guest, 'message', { signal: AbortSignal.timeout(10_000) })
    expect(answer).toEqual(serverFailure(query))
    const socket = connect(port, '127.0.0.1')
    socket.resume()
    await once(socket, 'close', { signal: AbortSignal.timeout(10_000) })
  })

  it('joins TCP with the first resolver that accepts', async () => {
    const { port, resolverPort } = await start('127.0.0.3', '127.0.0.2')
    const server = createServer((socket) => socket.pipe(socket)).listen(resolverPort, '127.0.0.2')
    undo.defer(() => void server.close())
    await once(server, 'listening')
    const socket = connect(port, '127.0.0.1')
    socket.end('a message')
    const [echo] = await once(socket, 'data', { signal: AbortSignal.timeout(10_000) })
    expect(String(echo)).toBe('a message')
  })

  it('limits what a guest, and all together, have in flight', () => {
    const inFlight = new InFlight({ perGuest: 2, total: 3 })
    expect(['a', 'a', 'a', 'b', 'c'].map((guest) => inFlight.enter(guest))).toEqual([true, true, false, true, false])
    inFlight.leave('a')
    expect([inFlight.enter('c'), inFlight.enter('a')]).toEqual([true, false])
  })
})

describe('resolv.conf', () => {
  it('names at most three resolvers, in order', () => {
    const text = `# nameserver 9.9.9.9
nameserver 127.0.0.53
nameserver\tfd00::1
nameserver fe80::1%eth0 # a comment
nameserver 8.8.8.8
options edns0`
    expect(parseResolvConf(text, '10.201.255.254')).toEqual(['127.0.0.53', 'fd00::1', 'fe80::1%eth0'])
  })

  it('does not make the relay ask itself, nor anything that is no address', () => {
    expect(parseResolvConf('nameserver 10.201.255.254\nnameserver example\n', '10.201.255.254')).toEqual([])
  })
})

it('a failure keeps the question, and says so in the header', () => {
  const answer = serverFailure(query)
  expect(answer.subarray(0, 2)).toEqual(query.subarray(0, 2))
  expect(answer.subarray(4)).toEqual(query.subarray(4))
  expect(answer.readUInt16BE(2)).toBe(0x8182)
})
