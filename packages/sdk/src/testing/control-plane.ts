// The control plane of the wire server: sandboxes, templates and keys in memory, with the contract's replies and refusals.
import type { ServerResponse } from 'node:http'
import type { ListedKey, ListedSandbox, PublicState, Template } from '../wire.ts'
import { type Recorded, sendJSON } from './wire-server.ts'

interface Row extends Omit<ListedSandbox, 'state' | 'status'> {
  state: PublicState
  timeout: number
  logs: { timestamp: string; line: string }[]
}

export class ControlPlane {
  readonly apiKey = `lel_${'0123456789'.repeat(4)}`
  readonly sandboxes = new Map<string, Row>()
  readonly keys: ListedKey[] = []
  domain = 'localhost'
  readonly #byIdempotencyKey = new Map<string, string>()
  #created = 0

  isRunning(sandboxID: string): boolean {
    return this.sandboxes.get(sandboxID)?.state === 'running'
  }

  tokenOf(sandboxID: string): string {
    return `token-of-${sandboxID}`
  }

  /** Puts a sandbox there, as a create would. */
  add(
    fields: { sandboxID?: string; state?: PublicState; metadata?: Record<string, string>; timeout?: number } = {},
  ): Row {
    const sandboxID = fields.sandboxID ?? `sbx${String(++this.#created).padStart(17, '0')}`
    const timeout = fields.timeout ?? 86_400
    const now = Date.now()
    const row: Row = {
      templateID: 'tpl00000000000000base',
      alias: 'base',
      sandboxID,
      clientID: 'lelantos',
      startedAt: new Date(now).toISOString(),
      endAt: timeout === 0 ? null : new Date(now + timeout * 1000).toISOString(),
      cpuCount: 2,
      memoryMB: 512,
      diskSizeMB: 20_480,
      metadata: fields.metadata ?? {},
      state: fields.state ?? 'running',
      envdVersion: '0.5.7',
      volumeMounts: [],
      timeout,
      logs: ['created', 'running'].map((event) => line(event)),
    }
    this.sandboxes.set(sandboxID, row)
    return row
  }

  answer(request: Recorded, response: ServerResponse): void {
    if (request.headers['x-api-key'] !== this.apiKey) {
      return refuse(response, 401, 'unauthorized', 'the API key is not valid')
    }
    const [, first = '', id, verb] = request.path.replace(/^\/v2/, '').split('/')
    if (first === 'templates') return sendJSON(response, 200, [template])
    if (first === 'api-keys') return this.#answerKeys(request, response, id)
    if (first !== 'sandboxes') return refuse(response, 404, 'not_found', `no route ${request.path}`)
    if (id === undefined)
      return request.method === 'POST' ? this.#create(request, response) : this.#list(request, response)
    const row = this.sandboxes.get(id)
    const ended = row?.state === 'killed' || row?.state === 'stopped'
    if (row === undefined || (ended && verb !== 'logs' && request.query.get('terminated') !== 'true')) {
      return refuse(response, 404, 'sandbox_not_found', `sandbox ${id} was not found`)
    }
    this.#answerOne(row, verb, request, response)
  }

  #answerOne(row: Row, verb: string | undefined, request: Recorded, response: ServerResponse): void {
    const body = readBody(request)
    if (verb === undefined && request.method === 'DELETE') return this.#move(row, 'killed', response)
    if (verb === undefined)
      return sendJSON(response, 200, {
        ...this.#listed(row),
        domain: this.domain,
        envdAccessToken: this.tokenOf(row.sandboxID),
      })
    if (verb === 'pause') {
      if (row.state === 'paused')
        return refuse(response, 409, 'already_paused', `sandbox ${row.sandboxID} is paused already`)
      return this.#move(row, 'paused', response)
    }
    if (verb === 'resume') {
      if (row.state !== 'paused') return refuse(response, 409, 'not_paused', `sandbox ${row.sandboxID} is not paused`)
      row.state = 'running'
      row.timeout = Number(body['timeout'] ?? row.timeout)
      return sendJSON(response, 201, this.#sandbox(row))
    }
    if (verb === 'logs')
      return sendJSON(response, 200, { logs: row.logs.slice(Number(request.query.get('start') ?? 0)) })
    if (verb === 'metrics') return sendJSON(response, 200, [{ ...metric, cpuUsedPct: 1 }, metric])
    row.timeout = Number(body['timeout'])
    sendJSON(response, 204)
  }

  #move(row: Row, state: PublicState, response: ServerResponse): void {
    row.state = state
    row.logs.push(line(state))
    sendJSON(response, 204)
  }

  #create(request: Recorded, response: ServerResponse): void {
    const body = readBody(request) as { templateID?: string; timeout?: number; metadata?: Record<string, string> }
    if (body.templateID !== 'base') {
      return refuse(response, 404, 'template_not_found', `template ${String(body.templateID)} was not found`)
    }
    const key = String(request.headers['idempotency-key'])
    const known = this.sandboxes.get(this.#byIdempotencyKey.get(key) ?? '')
    const row = known ?? this.add(body)
    this.#byIdempotencyKey.set(key, row.sandboxID)
    sendJSON(response, 201, this.#sandbox(row))
  }

  #list(request: Recorded, response: ServerResponse): void {
    const states = (request.query.get('state') ?? 'running,paused').split(',')
    const wanted = [...new URLSearchParams(request.query.get('metadata') ?? '')]
    const rows = [...this.sandboxes.values()].filter(
      (row) => states.includes(row.state) && wanted.every(([name, value]) => row.metadata[name] === value),
    )
    const from = Number(request.query.get('nextToken') ?? 0)
    const to = from + Number(request.query.get('limit') ?? 100)
    const next: Record<string, string> = to < rows.length ? { 'X-Next-Token': String(to) } : {}
    const page = request.path.startsWith('/v2') ? rows.slice(from, to) : rows
    sendJSON(
      response,
      200,
      page.map((row) => this.#listed(row)),
      next,
    )
  }

  #answerKeys(request: Recorded, response: ServerResponse, id: string | undefined): void {
    if (request.method === 'GET') return sendJSON(response, 200, this.keys)
    if (request.method === 'POST') {
      const key = { id: `key${String(this.keys.length).padStart(17, '0')}`, name: String(readBody(request)['name']) }
      this.keys.push({ ...key, mask: 'lel_00…9f', createdAt: new Date().toISOString(), lastUsedAt: null })
      return sendJSON(response, 201, { ...key, apiKey: `lel_${'f'.repeat(40)}` })
    }
    const at = this.keys.findIndex((key) => key.id === id)
    if (at < 0) return refuse(response, 404, 'key_not_found', `key ${id} was not found`)
    this.keys.splice(at, 1)
    sendJSON(response, 204)
  }

  #sandbox({ templateID, sandboxID, alias, clientID, envdVersion, state }: Row): object {
    const envdAccessToken = this.tokenOf(sandboxID)
    return {
      templateID,
      sandboxID,
      alias,
      clientID,
      envdVersion,
      envdAccessToken,
      domain: this.domain,
      state,
      status: state,
    }
  }

  #listed({ logs: _logs, timeout: _timeout, ...row }: Row): ListedSandbox {
    return { ...row, status: row.state }
  }
}

export function refuse(
  response: ServerResponse,
  status: number,
  error: string,
  message: string,
  retryAfter?: string,
): void {
  const headers: Record<string, string> = retryAfter === undefined ? {} : { 'Retry-After': retryAfter }
  sendJSON(response, status, { code: status, error, message, requestId: 'req-1' }, headers)
}

function readBody(request: Recorded): Record<string, unknown> {
  return request.body.length === 0 ? {} : (JSON.parse(request.body.toString()) as Record<string, unknown>)
}

function line(event: string): { timestamp: string; line: string } {
  return { timestamp: new Date().toISOString(), line: `sandbox.lifecycle.${event}` }
}

const metric = {
  timestamp: '2026-01-01T00:00:00.000Z',
  timestampUnix: 1_767_225_600,
  cpuCount: 2,
  cpuUsedPct: 12.5,
  memUsed: 104_857_600,
  memTotal: 536_870_912,
  memCache: 0,
  diskUsed: 1_073_741_824,
  diskTotal: 21_474_836_480,
}

const template: Template = {
  templateID: 'tpl00000000000000base',
  buildID: 'bld00000000000000base',
  cpuCount: 2,
  memoryMB: 512,
  diskSizeMB: 20_480,
  public: true,
  aliases: ['base'],
  names: ['base'],
  createdAt: '2026-01-01T00:00:00.000Z',
  updatedAt: '2026-01-01T00:00:00.000Z',
  createdBy: null,
  lastSpawnedAt: null,
  spawnCount: 0,
  buildCount: 1,
  buildStatus: 'ready',
  envdVersion: '0.5.7',
}
