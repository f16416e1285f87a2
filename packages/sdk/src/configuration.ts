// Where the installation is, from options, then the environment, then the public one.
import { environmentVariable } from './environment.ts'
import { AuthenticationError, InvalidRequestError } from './errors.ts'

export interface ClientOptions {
  /** `lel_` and 40 hex digits; `LELANTOS_API_KEY` unless given. */
  readonly apiKey?: string | undefined
  /** The API; `LELANTOS_API_URL` unless given, else `https://api.{domain}`. */
  readonly baseURL?: string | undefined
  /** Sandboxes are at `https://{port}-{id}.{domain}`; `LELANTOS_DOMAIN` unless given, else that of the API. */
  readonly domain?: string | undefined
  /** ms that one request may take. 30,000 unless given, and 90,000 where a sandbox is made, paused or resumed. */
  readonly timeout?: number | undefined
  /** How often a request that was refused with 429 or 503 is tried again, where that is safe. 3 unless given. */
  readonly retries?: number | undefined
  /** Replaces the platform's fetch: a proxy, a recorder, a test. */
  readonly fetch?: typeof fetch | undefined
}

export interface Configuration {
  readonly apiKey: string
  /** Without a slash at the end. */
  readonly baseURL: string
  /** A host name, perhaps with a port. */
  readonly domain: string
  /** One that was only guessed from the API's URL gives way to what the API says of a sandbox. */
  readonly domainFrom: 'given' | 'baseURL'
  readonly timeoutMs: number | undefined
  readonly retries: number
  readonly fetch: typeof fetch
}

const PUBLIC_DOMAIN = 'lelantos.ai'
/** Where an installation on one machine listens unless told otherwise. */
const LOCAL_PORT = 3000

/** Throws `AuthenticationError` without an API key, `InvalidRequestError` for an option that cannot be meant. */
export function configure(options: ClientOptions): Configuration {
  const apiKey = options.apiKey ?? environmentVariable('LELANTOS_API_KEY')
  if (!apiKey) {
    throw new AuthenticationError('there is no API key: pass apiKey, or set LELANTOS_API_KEY', { code: 'unauthorized' })
  }
  // What a header cannot carry would be repeated in the words of fetch's own error.
  if (!/^[\x21-\x7e]+$/.test(apiKey)) throw invalid('apiKey holds characters that a header cannot carry')
  const timeoutMs = options.timeout
  if (timeoutMs !== undefined && !(timeoutMs >= 0)) throw invalid(`timeout must be at least 0 ms, got ${timeoutMs}`)
  const retries = options.retries ?? 3
  if (!Number.isInteger(retries) || retries < 0) throw invalid(`retries must be a whole number, got ${retries}`)
  const given = options.fetch
  // Browsers refuse a fetch that is called as a method of something else.
  return { apiKey, ...place(options), timeoutMs, retries, fetch: given ?? ((input, init) => fetch(input, init)) }
}

function place(options: ClientOptions): Pick<Configuration, 'baseURL' | 'domain' | 'domainFrom'> {
  let baseURL = options.baseURL
  let domain = options.domain
  // An option outranks the environment, also where the two speak of different things.
  if (baseURL === undefined && domain === undefined) baseURL = environmentVariable('LELANTOS_API_URL')
  if (domain === undefined && options.baseURL === undefined) domain = environmentVariable('LELANTOS_DOMAIN')
  if (domain !== undefined && !/^[\w.-]+(:\d+)?$|^\[[0-9a-fA-F:]+\](:\d+)?$/.test(domain)) {
    throw invalid(`domain must be a host name without a scheme, got ${JSON.stringify(domain)}`)
  }
  const url = parse(baseURL ?? urlOf(domain ?? PUBLIC_DOMAIN))
  return {
    baseURL: url.origin + url.pathname.replace(/\/+$/, ''),
    domain: domain ?? url.host.replace(/^api\./, ''),
    domainFrom: domain === undefined ? 'baseURL' : 'given',
  }
}

function parse(text: string): URL {
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw invalid('baseURL must be an absolute URL, http://127.0.0.1:3000 say')
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw invalid('baseURL must begin with http:// or https://')
  if (url.username !== '' || url.password !== '') throw invalid('baseURL must not carry credentials')
  return url
}

function urlOf(domain: string): string {
  if (!isLocal(hostOf(domain))) return `https://api.${domain}`
  return `http://${domain}${hostOf(domain) === domain ? `:${LOCAL_PORT}` : ''}`
}

/** A domain or host without its port. */
export function hostOf(domain: string): string {
  return domain.replace(/:\d+$/, '')
}

/** Whether names below this host are not to be had from DNS: localhost, and every address. */
export function isLocal(host: string): boolean {
  return /(^|\.)localhost$/.test(host) || /^\d+\.\d+\.\d+\.\d+$/.test(host) || host.startsWith('[')
}

function invalid(message: string): InvalidRequestError {
  return new InvalidRequestError(message, { code: 'invalid_option' })
}
