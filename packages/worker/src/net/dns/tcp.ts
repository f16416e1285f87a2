import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { pipeline } from 'node:stream'
import { InFlight } from './in-flight.ts'
import type { RelayOptions } from './relay.ts'
import type { Upstream } from './resolvers.ts'

const LIMITS = { perGuest: 8, total: 128 }
const CONNECT_MS = 1500
/** A connection on which nothing moves for this long is closed: RFC 7766, section 6.2.3 asks for seconds. */
const IDLE_MS = 10_000

export async function openTCPRelay(options: RelayOptions, upstream: Upstream): Promise<AsyncDisposable> {
  const inFlight = new InFlight(LIMITS)
  const open = new Set<Socket>()
  // Half open, since who has asked may close its side and still wants the answer.
  const server = createServer({ allowHalfOpen: true }, (guest) => {
    const address = guest.remoteAddress ?? ''
    guest.on('error', () => {}) // guests cut connections as they please
    if (!inFlight.enter(address)) {
      guest.destroy()
      return
    }
    open.add(guest)
    guest.once('close', () => {
      open.delete(guest)
      inFlight.leave(address)
    })
    guest.setTimeout(IDLE_MS, () => guest.destroy())
    void relayConnection(guest, upstream).catch((err: unknown) => {
      options.log.debug({ err, guest: address }, 'a DNS connection failed')
      guest.destroy()
    })
  })
  server.listen({ host: options.address, port: options.port, exclusive: true })
  await once(server, 'listening')
  server.on('error', (err) => options.log.warn({ err }, 'the DNS relay had a socket error'))
  return {
    [Symbol.asyncDispose]: async () => {
      for (const guest of open) guest.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}

/** Joins the guest with the first resolver that accepts. */
async function relayConnection(guest: Socket, upstream: Upstream): Promise<void> {
  for (const address of await upstream.resolvers.addresses()) {
    const resolver = await reach(address, upstream.port)
    if (!resolver) continue
    if (guest.destroyed) {
      resolver.destroy()
      return
    }
    // `pipeline` destroys both ends when either breaks.
    pipeline(guest, resolver, () => {})
    pipeline(resolver, guest, () => {})
    return
  }
  guest.destroy()
}

function reach(host: string, port: number): Promise<Socket | undefined> {
  const { promise, resolve } = Promise.withResolvers<Socket | undefined>()
  const socket = connect({ host, port, allowHalfOpen: true })
  socket.once('error', () => resolve(undefined))
  socket.once('connect', () => {
    socket.setTimeout(IDLE_MS, () => socket.destroy())
    resolve(socket)
  })
  socket.setTimeout(CONNECT_MS, () => {
    socket.destroy()
    resolve(undefined)
  })
  return promise
}
