// Where a sandbox is. A name of its own (`https://{port}-{id}.{domain}`) wherever DNS has such names; the API's listener
// with two headers where the installation is on localhost or an address.
import { hostOf, isLocal } from '../configuration.ts'

export interface Address {
  /** Without a slash at the end. */
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
}

interface Installation {
  readonly baseURL: string
  readonly domain: string
}

/** The port that the guest daemon listens on, in every sandbox. */
export const ENVD_PORT = 49_983

/** How a program reaches a port of a sandbox. */
export function sandboxAddress(installation: Installation, sandboxID: string, port: number): Address {
  const base = new URL(installation.baseURL)
  const headers = { 'E2b-Sandbox-Id': sandboxID, 'E2b-Sandbox-Port': String(port) }
  if (isLocal(base.hostname) || isLocal(hostOf(installation.domain))) return { url: base.origin, headers }
  return { url: sandboxURL(installation, sandboxID, port), headers }
}

/**
 * The URL of a port of a sandbox, for browsers and other programs; without a port that of its in-VM API. Where the
 * installation is on localhost or an address it is a name under `localhost`, which browsers and curl resolve themselves.
 */
export function sandboxURL(installation: Installation, sandboxID: string, port?: number): string {
  const base = new URL(installation.baseURL)
  const label = port === undefined ? sandboxID : `${port}-${sandboxID}`
  const host = hostOf(installation.domain)
  const ownPort = installation.domain.slice(host.length)
  // Sandboxes are answered by the API's own listener, so where that is not on the scheme's port they are not either.
  const sameListener = isLocal(host) || base.hostname === host || base.hostname.endsWith(`.${host}`)
  const listenerPort = sameListener && base.port !== '' ? `:${base.port}` : ''
  const scheme = sameListener ? base.protocol : 'https:'
  const name = /^\d|^\[/.test(host) && isLocal(host) ? 'localhost' : host
  return `${scheme}//${label}.${name}${ownPort || listenerPort}`
}
