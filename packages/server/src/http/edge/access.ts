// Who may use a sandbox's in-VM API, and what no guest may see. On the port of the guest daemon the edge authenticates,
// takes the credentials off and puts the sandbox's own token on. On every other port the traffic is the user's: it passes,
// except for API keys of this installation, which a client may send by habit and a guest would keep.
import type { IncomingMessage } from 'node:http'
import { equalSecrets } from '@lelantos-ai/contract'
import { apiKeyOf } from '../credentials.ts'
import { eachHeader } from './headers.ts'

export interface Credentials {
  /** The team of an API key, or undefined when there is no such key. */
  authenticate(key: string): Promise<{ readonly teamID: string } | undefined>
  /** The access token of a sandbox's in-VM API. */
  token(sandboxID: string): string
}

/** The guest daemon's paths that clients may use. Everything else of it, `/init` say, is the worker's: to a client it does not exist. */
const PUBLIC_PATH =
  /^\/(health|metrics|envs|files|files\/compose|rpc|process\.Process\/[A-Za-z]+|filesystem\.Filesystem\/[A-Za-z]+)$/

/** Compared as sent, before any decoding: an encoded or doubled slash is not on the list. */
export function isPublicPath(url: string): boolean {
  const end = url.indexOf('?')
  return PUBLIC_PATH.test(end < 0 ? url : url.slice(0, end))
}

/** Whether this request may use the in-VM API of the sandbox. `GET /health` is open: clients ask it whether the sandbox lives. */
export async function mayEnter(
  request: IncomingMessage,
  sandbox: { readonly sandboxID: string; readonly teamID: string },
  credentials: Credentials,
): Promise<boolean> {
  if ((request.method === 'GET' || request.method === 'HEAD') && /^\/health(\?|$)/.test(request.url ?? '')) return true
  const token = request.headers['x-access-token']
  if (typeof token === 'string' && equalSecrets(token, credentials.token(sandbox.sandboxID))) return true
  const key = apiKeyOf(request.headers)
  if (key === undefined) return false
  return (await credentials.authenticate(key))?.teamID === sandbox.teamID
}

export type Redact = (name: string, value: string) => string | undefined

const KEY = /(?:lel|e2b)_[0-9a-f]{40}/gi

/**
 * What takes credentials off the headers of a request. Texts of the form of a key are looked up first, all of them: one
 * that is no key of this installation is the user's own affair. When the look-up fails they count as keys.
 */
export async function redactor(request: IncomingMessage, inVM: boolean, credentials: Credentials): Promise<Redact> {
  const keys = await keysIn(request, credentials)
  const withoutKeys: Redact = (name, value) => {
    if (keys.size === 0) return value
    if (name === 'authorization' && keysOf(basic(value)).some((key) => keys.has(key))) return undefined
    const rest = value.replace(KEY, (key) => (keys.has(key) ? '' : key))
    return rest === value ? value : /^(Bearer)?\s*$/i.test(rest) ? undefined : rest
  }
  if (!inVM) return withoutKeys
  return (name, value) => {
    if (name === 'x-api-key' || name === 'x-admin-token' || name === 'x-access-token') return undefined
    // Basic selects the user that a command runs as, and proves nothing.
    if (name === 'authorization' && !/^Basic /i.test(value)) return undefined
    return withoutKeys(name, value)
  }
}

async function keysIn(request: IncomingMessage, credentials: Credentials): Promise<Set<string>> {
  const seen = new Set<string>()
  eachHeader(request.rawHeaders, (name, value) => {
    for (const key of keysOf(value)) seen.add(key)
    if (name.toLowerCase() === 'authorization') for (const key of keysOf(basic(value))) seen.add(key)
  })
  for (const key of seen) {
    const holder = await credentials.authenticate(key).catch(() => 'unknown' as const)
    if (holder === undefined) seen.delete(key)
  }
  return seen
}

function keysOf(text: string): string[] {
  return text.match(KEY) ?? []
}

/** What a Basic authorization says, decoded: a key may be its password. */
function basic(authorization: string): string {
  const [, encoded] = /^Basic +(\S+)/i.exec(authorization) ?? []
  return encoded === undefined ? '' : Buffer.from(encoded, 'base64').toString('latin1')
}
