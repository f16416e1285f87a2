import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { isIPv6 } from 'node:net'
import { InFlight } from './in-flight.ts'
import type { RelayOptions } from './relay.ts'
import type { Upstream } from './resolvers.ts'

const LIMITS = { perGuest: 64, total: 1024 }
/** A resolver that has not answered by then is passed over; guests' own patience is 5 s (resolv.conf(5)). */
const ANSWER_MS = 1500
/** Header of a DNS message: RFC 1035, section 4.1.1. */
const HEADER_BYTES = 12

export async function openUDPRelay(options: RelayOptions, upstream: Upstream): Promise<AsyncDisposable> {
  const socket = createSocket('udp4')
  const inFlight = new InFlight(LIMITS)
  const pending = new Set<AbortController>()
  socket.on('message', (query, guest) => {
    if (query.length < HEADER_BYTES || !inFlight.enter(guest.address)) return
    const abort = new AbortController()
    pending.add(abort)
    void relayQuery(query, upstream, abort.signal)
      .then((answer) => sendQuietly(socket, answer, guest))
      .catch((err: unknown) => {
        if (!abort.signal.aborted) options.log.debug({ err, guest: guest.address }, 'a DNS query failed')
      })
      .finally(() => {
        pending.delete(abort)
        inFlight.leave(guest.address)
      })
  })
  socket.bind({ address: options.address, port: options.port, exclusive: true })
  try {
    await once(socket, 'listening')
  } catch (error) {
    socket.close()
    throw error
  }
  // A guest whose slot is gone makes sends fail; nothing follows from it.
  socket.on('error', (err) => options.log.warn({ err }, 'the DNS relay had a socket error'))
  return {
    [Symbol.asyncDispose]: async () => {
      for (const abort of pending) abort.abort()
      await new Promise<void>((resolve) => socket.close(() => resolve()))
    },
  }
}

/** The answer of the first resolver that gives one, else SERVFAIL, so that the guest does not wait in vain. */
async function relayQuery(query: Buffer, upstream: Upstream, signal: AbortSignal): Promise<Buffer> {
  for (const address of await upstream.resolvers.addresses()) {
    const answer = await ask(address, upstream.port, query, signal)
    signal.throwIfAborted()
    if (answer) return answer
  }
  return serverFailure(query)
}

/** Asks one resolver from a port of its own. `undefined` when it does not answer in time or refuses. */
function ask(address: string, port: number, query: Buffer, signal: AbortSignal): Promise<Buffer | undefined> {
  const { promise, resolve } = Promise.withResolvers<Buffer | undefined>()
  const socket = createSocket(isIPv6(address.split('%')[0] ?? '') ? 'udp6' : 'udp4')
  const timer = setTimeout(() => resolve(undefined), ANSWER_MS)
  const giveUp = () => resolve(undefined)
  signal.addEventListener('abort', giveUp, { once: true })
  socket.on('error', giveUp) // nothing listens there, or it cannot be reached
  socket.on('message', (answer) => {
    if (answer.length >= HEADER_BYTES && answer.readUInt16BE(0) === query.readUInt16BE(0)) resolve(answer)
  })
  // Connected, so that only that resolver's answers arrive and a refusal is an error.
  socket.connect(port, address, () => socket.send(query, () => {}))
  return promise.finally(() => {
    clearTimeout(timer)
    signal.removeEventListener('abort', giveUp)
    socket.close()
  })
}

function sendQuietly(socket: Socket, answer: Buffer, guest: RemoteInfo): void {
  socket.send(answer, guest.port, guest.address, () => {})
}

/** The query's header and question with QR set and RCODE 2: RFC 1035, section 4.1.1. */
export function serverFailure(query: Buffer): Buffer {
  const answer = Buffer.from(query)
  answer.writeUInt8(answer.readUInt8(2) | 0x80, 2)
  answer.writeUInt8((answer.readUInt8(3) & 0x70) | 0x82, 3)
  return answer
}
