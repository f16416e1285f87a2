// One sandbox, as a program holds it.
import type { LelantosClient, LogsOptions, ResumeOptions, SandboxMetrics } from '../client.ts'
import type { Configuration } from '../configuration.ts'
import { Envd } from '../envd/envd.ts'
import { AuthenticationError, NotFoundError } from '../errors.ts'
import type { CallOptions } from '../http/api.ts'
import type { FileInfo, Logs, SandboxDetail } from '../wire.ts'
import { ENVD_PORT, sandboxAddress, sandboxURL } from './address.ts'
import { Commands } from './commands.ts'
import { type FileContent, type FileOptions, Files } from './files.ts'

/** Node 18.0 has no such symbol; from 18.18 on, `await using` kills the sandbox at the end of its block. */
const asyncDispose: typeof Symbol.asyncDispose = Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')

/** What is known of a sandbox without asking: all of it after a create or resume. */
export interface Known {
  readonly sandboxID: string
  readonly envdAccessToken?: string | undefined
  readonly domain?: string | undefined
}

function domainOf({ domain, domainFrom }: Configuration, known: Known): string {
  return domainFrom === 'baseURL' && known.domain ? known.domain : domain
}

export class SandboxHandle {
  readonly sandboxID: string
  readonly commands: Commands
  readonly files: Files
  readonly #client: LelantosClient
  readonly #installation: { readonly baseURL: string; readonly domain: string }
  #token: string | undefined
  #tokenAsked: Promise<string> | undefined

  /** Made by the client: `createSandbox`, `resumeSandbox`, `sandbox`. */
  constructor(client: LelantosClient, configuration: Configuration, known: Known) {
    this.sandboxID = known.sandboxID
    this.#client = client
    this.#installation = { baseURL: configuration.baseURL, domain: domainOf(configuration, known) }
    this.#token = known.envdAccessToken
    const envd = new Envd({
      fetch: configuration.fetch,
      timeoutMs: configuration.timeoutMs ?? 30_000,
      access: async () => ({
        address: sandboxAddress(this.#installation, this.sandboxID, ENVD_PORT),
        token: this.#token ?? (await this.#askToken()),
      }),
    })
    this.commands = new Commands(envd, this.sandboxID)
    this.files = new Files(envd)
  }

  /** Where a port of the sandbox answers; without a port, its in-VM API. */
  getURL(port?: number): string {
    return sandboxURL(this.#installation, this.sandboxID, port)
  }

  async getDetails(options?: CallOptions): Promise<SandboxDetail> {
    return await this.#client.getSandbox(this.sandboxID, options)
  }

  /** Writes memory and disk out; the sandbox costs disk only until it is resumed. */
  async pause(options?: CallOptions): Promise<void> {
    await this.#client.pauseSandbox(this.sandboxID, options)
  }

  /** Brings it back as it was. Its timeout starts anew, with `timeout` seconds or those last set. */
  async resume(options?: ResumeOptions): Promise<this> {
    await this.#client.resumeSandbox(this.sandboxID, options)
    return this
  }

  /** Throws `NotFoundError` when it has ended already. */
  async kill(options?: CallOptions): Promise<void> {
    await this.#client.killSandbox(this.sandboxID, options)
  }

  /** It lives at least `seconds` more. */
  async refresh(seconds: number, options?: CallOptions): Promise<void> {
    await this.#client.refreshSandbox(this.sandboxID, seconds, options)
  }

  /** It ends in `seconds`; 0 for never. */
  async setTimeout(seconds: number, options?: CallOptions): Promise<void> {
    await this.#client.setSandboxTimeout(this.sandboxID, seconds, options)
  }

  async getLogs(options?: LogsOptions): Promise<Logs> {
    return await this.#client.getSandboxLogs(this.sandboxID, options)
  }

  async getMetrics(options?: CallOptions): Promise<SandboxMetrics> {
    return await this.#client.getSandboxMetrics(this.sandboxID, options)
  }

  async uploadFile(path: string, data: FileContent, options?: FileOptions): Promise<FileInfo> {
    return await this.files.write(path, data, options)
  }

  async downloadFile(path: string, options?: FileOptions): Promise<Uint8Array> {
    return await this.files.read(path, { ...options, format: 'bytes' })
  }

  /** Kills it; one that has ended already is what was wanted. */
  async [asyncDispose](): Promise<void> {
    try {
      await this.kill()
    } catch (error) {
      if (!(error instanceof NotFoundError)) throw error
    }
  }

  /** Asked for once, however many calls wait for it. A failure is forgotten, so that the next call asks again. */
  async #askToken(): Promise<string> {
    this.#tokenAsked ??= this.getDetails().then(({ envdAccessToken }) => {
      if (envdAccessToken === undefined) {
        throw new AuthenticationError(`the API gave no access token for ${this.sandboxID}`, { code: 'forbidden' })
      }
      return envdAccessToken
    })
    try {
      return (this.#token = await this.#tokenAsked)
    } finally {
      this.#tokenAsked = undefined
    }
  }
}
