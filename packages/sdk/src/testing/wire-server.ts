// For tests: an HTTP server on a port of its own that speaks the wire, control plane and guest daemon on one listener, as
// an installation on localhost does. Commands are real processes of this machine, files are real files in a folder that
// goes with the server. It records what arrives, and a test can answer a request in its place.
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ControlPlane } from './control-plane.ts'
import { GuestDaemon } from './guest-daemon.ts'

export interface Recorded {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingMessage['headers']
  body: Buffer
}

/** True when it has taken the request: the server does nothing more. */
export type Intercept = (request: Recorded, response: ServerResponse) => boolean

export class WireServer implements AsyncDisposable {
  readonly requests: Recorded[] = []
  readonly controlPlane = new ControlPlane()
  readonly folder = mkdtempSync(join(tmpdir(), 'lelantos-wire-'))
  readonly guest = new GuestDaemon(this.folder)
  intercept: Intercept | undefined
  readonly #server: Server
  #port = 0

  private constructor() {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => response.destroy(error as Error))
    })
  }

  static async start(): Promise<WireServer> {
    const server = new WireServer()
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve))
    server.#port = (server.#server.address() as AddressInfo).port
    return server
  }

  /** Still known when the server is gone. */
  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  get apiKey(): string {
    return this.controlPlane.apiKey
  }

  /** Requests to a path, in the order of arrival. */
  to(path: string): Recorded[] {
    return this.requests.filter((request) => request.path === path)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.guest.killAll()
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
    rmSync(this.folder, { recursive: true, force: true })
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://localhost')
    const recorded: Recorded = {
      method: request.method ?? '',
      path: url.pathname,
      query: url.searchParams,
      headers: request.headers,
      body: Buffer.alloc(0),
    }
    this.requests.push(recorded)
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    recorded.body = Buffer.concat(chunks)
    if (this.intercept?.(recorded, response)) return
    const sandboxID = request.headers['e2b-sandbox-id']
    if (sandboxID === undefined) this.controlPlane.answer(recorded, response)
    else if (!this.controlPlane.isRunning(String(sandboxID))) {
      sendJSON(response, 502, { sandboxId: sandboxID, message: 'The sandbox was not found', code: 502 })
    } else await this.guest.answer(recorded, response, this.controlPlane.tokenOf(String(sandboxID)))
  }
}

export function sendJSON(
  response: ServerResponse,
  status: number,
  body?: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'Content-Type': 'application/json', ...headers })
  response.end(body === undefined ? undefined : JSON.stringify(body))
}
