// The client: every route of the API that a team uses, by the names of the original SDK.
import { type ClientOptions, type Configuration, configure } from './configuration.ts'
import { LelantosError } from './errors.ts'
import { API, type CallOptions } from './http/api.ts'
import { metadataFilter } from './http/metadata.ts'
import { SandboxHandle } from './sandbox/handle.ts'
import type {
  CreatedKey,
  ListedKey,
  ListedSandbox,
  Logs,
  Metric,
  NewSandbox,
  PublicState,
  SandboxDetail,
  Template,
} from './wire.ts'

export type Metadata = Readonly<Record<string, string>>

export interface CreateOptions extends CallOptions {
  /** The same key within 24 h gives the same sandbox. Random unless given, so that a create can be tried again safely. */
  readonly idempotencyKey?: string | undefined
}

export interface ResumeOptions extends CallOptions {
  /** Seconds from now; what was last set unless given. 0 never expires. */
  readonly timeout?: number | undefined
}

export interface ListOptions extends CallOptions {
  /** 1 to 100. */
  readonly limit?: number | undefined
  /** Of the page before. */
  readonly nextToken?: string | undefined
  /** Running and paused unless given. */
  readonly state?: PublicState | readonly PublicState[] | undefined
  readonly metadata?: Metadata | undefined
  /** By start; newest first unless given. */
  readonly order?: 'asc' | 'desc' | undefined
}

export interface LogsOptions extends CallOptions {
  /** How many events to skip. */
  readonly start?: number | undefined
  /** At most 1000; 100 unless given. */
  readonly limit?: number | undefined
}

export interface TemplatesOptions extends CallOptions {
  readonly limit?: number | undefined
  readonly nextToken?: string | undefined
}

export interface Page<T> {
  readonly data: T[]
  /** Absent on the last page. */
  readonly nextToken?: string
}

/** The newest sample. Bytes, but for the CPU: two busy CPUs are 200 percent. */
export type SandboxMetrics = Pick<Metric, 'cpuCount' | 'cpuUsedPct' | 'memUsed' | 'memTotal' | 'diskUsed' | 'diskTotal'>

export class LelantosClient {
  readonly #api: API
  readonly #configuration: Configuration

  /** Throws `AuthenticationError` where there is no API key, in the options or in `LELANTOS_API_KEY`. */
  constructor(options: ClientOptions = {}) {
    this.#configuration = configure(options)
    this.#api = new API(this.#configuration)
  }

  /** Where the API is. */
  get baseURL(): string {
    return this.#configuration.baseURL
  }

  /** Where the sandboxes are, unless the API says otherwise. */
  get domain(): string {
    return this.#configuration.domain
  }

  /** A handle of a sandbox that exists, without asking whether it does. */
  sandbox(sandboxID: string): SandboxHandle {
    return this.#handle({ sandboxID })
  }

  async createSandbox(sandbox: NewSandbox, options: CreateOptions = {}): Promise<SandboxHandle> {
    const { idempotencyKey = randomKey(), ...call } = options
    const { templateID, timeout, metadata, envVars } = sandbox
    const created = await this.#api.call('createSandbox', {
      ...call,
      body: { templateID, timeout, metadata, envVars },
      headers: { 'Idempotency-Key': idempotencyKey },
      repeatable: true,
    })
    return this.#handle(created)
  }

  /** Every live sandbox of the team, running and paused. Takes the metadata to look for as it is or under `metadata`. */
  async listSandboxes(
    filter?: Metadata | { readonly metadata?: Metadata | undefined },
    options: CallOptions = {},
  ): Promise<ListedSandbox[]> {
    const metadata = typeof filter?.metadata === 'object' ? filter.metadata : (filter as Metadata | undefined)
    return await this.#api.call('listSandboxes', { ...options, query: { metadata: metadataFilter(metadata) } })
  }

  async listSandboxesV2(options: ListOptions = {}): Promise<Page<ListedSandbox>> {
    const { limit, nextToken, state, metadata, order, ...call } = options
    const states = typeof state === 'string' || state === undefined ? state : state.join(',')
    const { reply, headers } = await this.#api.callWithHeaders('listSandboxesV2', {
      ...call,
      query: { limit, nextToken, state: states, metadata: metadataFilter(metadata), order },
    })
    const next = headers.get('x-next-token')
    return { data: reply, ...(next ? { nextToken: next } : {}) }
  }

  /** Throws `NotFoundError`, also for one that has ended unless `terminated` is set. */
  async getSandbox(
    sandboxID: string,
    options: CallOptions & { readonly terminated?: boolean | undefined } = {},
  ): Promise<SandboxDetail> {
    const { terminated, ...call } = options
    return await this.#api.call('getSandbox', { ...call, params: { sandboxID }, query: { terminated } })
  }

  async killSandbox(sandboxID: string, options: CallOptions = {}): Promise<void> {
    await this.#api.call('killSandbox', { ...options, params: { sandboxID } })
  }

  /** Throws `ConflictError` where it is paused already. */
  async pauseSandbox(sandboxID: string, options: CallOptions = {}): Promise<void> {
    await this.#api.call('pauseSandbox', { ...options, params: { sandboxID }, body: {} })
  }

  /** Throws `ConflictError` where it is not paused. */
  async resumeSandbox(sandboxID: string, options: ResumeOptions = {}): Promise<SandboxHandle> {
    const { timeout, ...call } = options
    return this.#handle(await this.#api.call('resumeSandbox', { ...call, params: { sandboxID }, body: { timeout } }))
  }

  /** It ends in `timeout` seconds; 0 for never. */
  async setSandboxTimeout(sandboxID: string, timeout: number, options: CallOptions = {}): Promise<void> {
    const call = { ...options, params: { sandboxID }, body: { timeout }, repeatable: true }
    await this.#api.call('setSandboxTimeout', call)
  }

  /** It lives at least `timeout` seconds more. */
  async refreshSandbox(sandboxID: string, timeout: number, options: CallOptions = {}): Promise<void> {
    const call = { ...options, params: { sandboxID }, body: { timeout }, repeatable: true }
    await this.#api.call('refreshSandbox', call)
  }

  /** Lifecycle events, oldest first; readable after the end. */
  async getSandboxLogs(sandboxID: string, options: LogsOptions = {}): Promise<Logs> {
    const { start, limit, ...call } = options
    return await this.#api.call('sandboxLogs', { ...call, params: { sandboxID }, query: { start, limit } })
  }

  async getSandboxMetrics(sandboxID: string, options: CallOptions = {}): Promise<SandboxMetrics> {
    const newest = (await this.#api.call('sandboxMetrics', { ...options, params: { sandboxID } })).at(-1)
    if (newest === undefined) {
      throw new LelantosError(`there are no metrics of ${sandboxID} yet`, { code: 'no_metrics' })
    }
    const { cpuCount, cpuUsedPct, memUsed, memTotal, diskUsed, diskTotal } = newest
    return { cpuCount, cpuUsedPct, memUsed, memTotal, diskUsed, diskTotal }
  }

  async getTemplates(options: TemplatesOptions = {}): Promise<Template[]> {
    const { limit, nextToken, ...call } = options
    return await this.#api.call('listTemplates', { ...call, query: { limit, nextToken } })
  }

  /** By id or name. */
  async getTemplate(templateID: string, options: CallOptions = {}): Promise<Template> {
    return await this.#api.call('getTemplate', { ...options, params: { templateID } })
  }

  async listKeys(options: CallOptions = {}): Promise<ListedKey[]> {
    return await this.#api.call('listKeys', options)
  }

  /** The key itself is in this reply and nowhere else, ever. */
  async createKey(name: string, options: CallOptions = {}): Promise<CreatedKey> {
    return await this.#api.call('createKey', { ...options, body: { name } })
  }

  /** It stops working at once. The key that asks cannot delete itself. */
  async deleteKey(keyID: string, options: CallOptions = {}): Promise<void> {
    await this.#api.call('deleteKey', { ...options, params: { keyID } })
  }

  #handle(known: { sandboxID: string; envdAccessToken?: string | undefined; domain?: string | undefined }) {
    return new SandboxHandle(this, this.#configuration, known)
  }
}

/** 128 random bits in hex. Node 18 has no global `crypto`; a key must be unique, not secret, so `Math.random` will do there. */
function randomKey(): string {
  const { crypto } = globalThis as { crypto?: typeof globalThis.crypto }
  const bytes = new Uint8Array(16)
  if (crypto === undefined) bytes.forEach((_, n) => (bytes[n] = Math.random() * 256))
  else crypto.getRandomValues(bytes)
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
