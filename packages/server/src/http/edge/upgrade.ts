// Upgraded connections (WebSocket and its like): the handshake is a request as any other, and only when the guest has
// answered 101 do the two sockets become one pipe. Any other answer is a response, after which the connection ends: a
// second request on it would pass unseen.
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Socket } from 'node:net'
import { openRequest, type Upstream, whenConnected } from './forward.ts'
import { eachHeader, towardsClient } from './headers.ts'

/** One side of a pipe has ended and the other does not: how long it may go on, in ms. */
const HALF_OPEN_MS = 60_000
const HANDSHAKE_MS = 30_000

export type Upgraded =
  | { readonly status: 'piped'; readonly guest: Socket }
  | { readonly status: 'answered' }
  | { readonly status: 'failed'; readonly cause: NodeJS.ErrnoException }

/** Resolves once the handshake is over, and never rejects. */
export function upgrade(request: IncomingMessage, client: Duplex, head: Buffer, upstream: Upstream): Promise<Upgraded> {
  return new Promise((resolve) => {
    const out = openRequest(request, upstream, ['Connection', 'Upgrade', 'Upgrade', request.headers.upgrade ?? ''])
    out.setTimeout(HANDSHAKE_MS, () => out.destroy(Object.assign(new Error('no handshake'), { code: 'ETIMEDOUT' })))
    const abort = (): void => void out.destroy()
    client.once('close', abort)
    out.on('socket', (socket) => whenConnected(socket, out, upstream.connectMs, () => out.end()))
    out.on('error', (cause) => resolve({ status: 'failed', cause }))
    out.on('upgrade', (reply, guest: Socket, guestHead) => {
      client.off('close', abort)
      client.write(rawHead(reply, reply.rawHeaders))
      join(client, head, guest, guestHead)
      resolve({ status: 'piped', guest })
    })
    out.on('response', (reply) => {
      // Its body is delimited by the end of the connection, as the parser has taken chunks apart.
      client.write(rawHead(reply, [...towardsClient(reply), 'Connection', 'close']))
      reply.on('error', () => client.destroy())
      reply.pipe(client)
      resolve({ status: 'answered' })
    })
  })
}

function rawHead(reply: IncomingMessage, headers: readonly string[]): string {
  let text = `HTTP/1.1 ${reply.statusCode} ${reply.statusMessage}\r\n`
  eachHeader(headers, (name, value) => {
    text += `${name}: ${value}\r\n`
  })
  return `${text}\r\n`
}

function join(client: Duplex, clientHead: Buffer, guest: Socket, guestHead: Buffer): void {
  guest.setTimeout(0)
  if (guestHead.length > 0) client.write(guestHead)
  if (clientHead.length > 0) guest.write(clientHead)
  client.pipe(guest)
  guest.pipe(client)
  endTogether(client, guest)
  endTogether(guest, client)
}

/** When `from` has ended or is gone, `to` still sends what it has, and has a while to end too. */
function endTogether(from: Duplex, to: Duplex): void {
  let timer: NodeJS.Timeout | undefined
  const bound = (): void => {
    timer ??= setTimeout(() => to.destroy(), HALF_OPEN_MS)
  }
  to.once('close', () => clearTimeout(timer))
  from.once('end', bound)
  from.on('error', () => to.destroy())
  from.once('close', () => {
    if (to.destroyed) return
    if (!from.readableEnded) return void to.destroy() // it was cut
    to.end()
    bound()
  })
}
