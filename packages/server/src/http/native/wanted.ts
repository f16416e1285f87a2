// The body of a create, read: defaults by who asks, limits that a schema cannot say, the idempotency key.
import { createHash } from 'node:crypto'
import { limits, Refused, type schemas } from '@lelantos-ai/contract'
import type { FastifyRequest } from 'fastify'
import type { NewSandbox } from '../../sandboxes/sandbox.ts'
import { sandboxTimeout } from '../api/client.ts'
import { checkVariables } from './environment.ts'

/** What a create asks for. Refuses `bad_request`. */
export function wantedSandbox(request: FastifyRequest, body: schemas.NewSandbox, defaultTimeout: number): NewSandbox {
  const wanted = {
    template: body.templateID,
    timeoutSeconds: sandboxTimeout(request, body.timeout) ?? defaultTimeout,
    metadata: body.metadata ?? {},
    envVars: body.envVars ?? {},
  }
  bound('metadata', wanted.metadata, limits.metadataBytes)
  bound('envVars', wanted.envVars, limits.environmentBytes)
  checkVariables('envVars', wanted.envVars)
  const asJSON = Buffer.byteLength(JSON.stringify(wanted.envVars))
  if (asJSON > limits.environmentJSONBytes)
    throw new Refused(
      'bad_request',
      `envVars must be at most ${limits.environmentJSONBytes} bytes as JSON, got ${asJSON}`,
    )
  const key = idempotencyKey(request)
  return key === undefined ? wanted : { ...wanted, idempotency: { key, bodyHash: hash(wanted) } }
}

function bound(field: string, map: Readonly<Record<string, string>>, maximum: number): void {
  let bytes = 0
  for (const [name, value] of Object.entries(map)) bytes += Buffer.byteLength(name) + Buffer.byteLength(value)
  if (bytes > maximum)
    throw new Refused('bad_request', `${field} must be at most ${maximum} bytes in all, got ${bytes}`)
}

function idempotencyKey(request: FastifyRequest): string | undefined {
  const key = request.headers['idempotency-key']
  if (key === undefined) return undefined
  if (
    typeof key !== 'string' ||
    !/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(key) ||
    key.length > limits.idempotencyKeyLength
  )
    throw new Refused(
      'bad_request',
      `Idempotency-Key must be 1 to ${limits.idempotencyKeyLength} printable ASCII characters`,
    )
  return key
}

/** The same wish in another order of fields is the same wish. */
function hash(wanted: Omit<NewSandbox, 'idempotency'>): string {
  const sorted = (map: Readonly<Record<string, string>>) => Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1))
  const parts = [wanted.template, wanted.timeoutSeconds, sorted(wanted.metadata), sorted(wanted.envVars)]
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex')
}
