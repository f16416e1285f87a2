// Headers on their way to a guest and back, as lists (`rawHeaders`): order, case and repetitions stay as they were.
import type { IncomingMessage } from 'node:http'

/** Of one connection, not of the message (RFC 9110, 7.6.1). `Trailer` and `TE: trailers` go on: trailers do. */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
])
/** What a `Connection` header may not take away: the framing of the message, and what routes it. */
const KEPT = new Set(['host', 'content-length', 'trailer', 'te'])

const OURS = new Set(['x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host', 'e2b-sandbox-id', 'e2b-sandbox-port'])

/** The headers of a request as the guest gets them, without the framing (`framing`). `redact` has the last word on each. */
export function towardsGuest(
  request: IncomingMessage,
  redact: (name: string, value: string) => string | undefined,
): string[] {
  const dropped = perConnection(request.headers.connection)
  const headers: string[] = []
  eachHeader(request.rawHeaders, (name, value) => {
    const lower = name.toLowerCase()
    if (dropped(lower) || OURS.has(lower) || (lower === 'te' && value.trim().toLowerCase() !== 'trailers')) return
    const kept = redact(lower, value)
    if (kept !== undefined) headers.push(name, kept)
  })
  return headers.concat(forwarded(request))
}

/** The headers of a response as the client gets them. */
export function towardsClient(response: IncomingMessage): string[] {
  const dropped = perConnection(response.headers.connection)
  const headers: string[] = []
  eachHeader(response.rawHeaders, (name, value) => {
    if (!dropped(name.toLowerCase())) headers.push(name, value)
  })
  return headers
}

/** Calls with each pair of a raw list. */
export function eachHeader(raw: readonly string[], see: (name: string, value: string) => void): void {
  for (let n = 0; n + 1 < raw.length; n += 2) see(raw[n] as string, raw[n + 1] as string)
}

function perConnection(connection: string | undefined): (name: string) => boolean {
  if (connection === undefined) return (name) => HOP_BY_HOP.has(name)
  const named = new Set(connection.split(',').map((name) => name.trim().toLowerCase()))
  return (name) => HOP_BY_HOP.has(name) || (named.has(name) && !KEPT.has(name))
}

/**
 * Who asked, and how. What a peer says of that is believed only of one on this machine: there TLS may end. A stranger's
 * claim is replaced.
 */
function forwarded(request: IncomingMessage): string[] {
  const peer = request.socket.remoteAddress ?? ''
  const local = peer === '127.0.0.1' || peer === '::1' || peer === '::ffff:127.0.0.1'
  const said = (name: string): string | undefined => {
    const value = request.headers[name]
    return local && typeof value === 'string' && value !== '' ? value : undefined
  }
  const before = said('x-forwarded-for')
  return [
    'X-Forwarded-For',
    before === undefined ? peer : `${before}, ${peer}`,
    'X-Forwarded-Proto',
    said('x-forwarded-proto') ?? 'http',
    'X-Forwarded-Host',
    said('x-forwarded-host') ?? request.headers.host ?? '',
  ]
}
