// One listener serves the API and every sandbox: which of them a request means is decided here, by its Host, before
// anything else of it is read.
//
//   {port}-{id}.{domain}            that port of the sandbox
//   {id}.{domain}                   its in-VM API (`/rpc`, `/files`)
//   api.{domain}, {domain}          the API
//   an address, localhost,          the sandbox that E2b-Sandbox-Id and E2b-Sandbox-Port name, else the API: so E2B's
//   sandbox.{domain}, other names   clients and ours reach sandboxes where there is no DNS
import { isIP } from 'node:net'
import type { IncomingHttpHeaders } from 'node:http'
import { ports } from '@lelantos-ai/contract'

export type Target =
  | { readonly kind: 'api' }
  | { readonly kind: 'sandbox'; readonly sandboxID: string; readonly port: number }
  /** A host or headers that name a sandbox wrongly: the message says how. */
  | { readonly kind: 'malformed'; readonly message: string }

const API: Target = { kind: 'api' }
const PORT_AND_ID = /^(\d+)-([a-z0-9]+)$/
const ID = /^[a-z0-9]+$/

/** Ids are compared in lower case: browsers and proxies write host names as they please. `domain` may carry a port. */
export function targetOf(headers: IncomingHttpHeaders, domain: string): Target {
  const host = hostname(headers.host ?? '')
  const apex = hostname(domain)
  const label = host.endsWith(`.${apex}`) ? host.slice(0, -apex.length - 1) : undefined
  if (label !== undefined && label !== 'sandbox') return label === 'api' ? API : byLabel(label)
  if (host === apex && host !== 'localhost' && isIP(host) === 0) return API
  return byHeaders(headers)
}

function byLabel(label: string): Target {
  const [, port, sandboxID] = PORT_AND_ID.exec(label) ?? []
  if (port !== undefined && sandboxID !== undefined) return sandbox(sandboxID, port)
  return ID.test(label) ? { kind: 'sandbox', sandboxID: label, port: ports.envd } : API
}

function byHeaders(headers: IncomingHttpHeaders): Target {
  const id = headers['e2b-sandbox-id']
  if (typeof id !== 'string') return API
  const sandboxID = id.toLowerCase()
  if (!ID.test(sandboxID)) return { kind: 'malformed', message: 'E2b-Sandbox-Id must consist of letters and digits' }
  const port = headers['e2b-sandbox-port']
  return sandbox(sandboxID, typeof port === 'string' ? port : String(ports.envd))
}

function sandbox(sandboxID: string, text: string): Target {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (port < 1 || port > 65_535)
    return { kind: 'malformed', message: `the sandbox's port must be between 1 and 65535, got ${text.slice(0, 16)}` }
  return { kind: 'sandbox', sandboxID, port }
}

/** A host without its port, in lower case: `[::1]:3000` gives `::1`. */
function hostname(host: string): string {
  const [, bracketed, plain] = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/.exec(host.trim().toLowerCase()) ?? []
  return bracketed ?? plain ?? ''
}
