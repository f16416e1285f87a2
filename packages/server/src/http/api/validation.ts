// Validation against the contract's schemas, and its refusals in words: the field, what was wrong with it, the limit.
// "memoryMB must be at most 8192, got 16384". Text values are never quoted: they may be secrets.
import { Refused } from '@lelantos-ai/contract'
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv'
import type { FastifySchemaCompiler } from 'fastify'
import type { TSchema } from 'typebox'

const options = { removeAdditional: false, useDefaults: true, allErrors: false, verbose: true, strict: false } as const
/** Queries and headers are text: `limit=5` is a number there, and in a body it is not. */
const ajv = { body: new Ajv(options), text: new Ajv({ ...options, coerceTypes: true }) }
const compiled = new WeakMap<object, ValidateFunction>()

/** Fastify's validator: by the part of the request. Its errors are refusals already. */
export const validatorCompiler: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) => {
  const validate = compile(schema, httpPart === 'body' ? 'body' : 'text')
  return (value: unknown) => {
    if (validate(value)) return { value }
    return { error: new Refused('bad_request', phrase(validate.errors ?? [], httpPart === 'body')) }
  }
}

function compile(schema: TSchema, part: 'body' | 'text'): ValidateFunction {
  const present = compiled.get(schema)
  if (present !== undefined) return present
  // An `$id` may be compiled once per Ajv; here it is a name for the documents only.
  const validate = ajv[part].compile(
    JSON.parse(JSON.stringify(schema, (key, value) => (key === '$id' ? undefined : value))),
  )
  compiled.set(schema, validate)
  return validate
}

/** What was wrong, of the first and outermost error. */
function phrase(errors: readonly ErrorObject[], inBody: boolean): string {
  const outer = errors.at(-1)
  if (outer === undefined) return 'the request is malformed'
  const field = name(outer, inBody)
  const { params, data } = outer
  switch (outer.keyword) {
    case 'required':
      return `${field} is required`
    case 'type':
      return `${field} must be ${article(String(params['type']))}, got ${kind(data)}`
    case 'minimum':
      return `${field} must be at least ${params['limit']}, got ${String(data)}`
    case 'maximum':
      return `${field} must be at most ${params['limit']}, got ${String(data)}`
    case 'minLength':
      return params['limit'] === 1
        ? `${field} must not be empty`
        : `${field} must be at least ${params['limit']} characters long, got ${String(data).length}`
    case 'maxLength':
      return `${field} must be at most ${params['limit']} characters long, got ${String(data).length}`
    case 'minItems':
    case 'maxItems':
      return `${field} must have at ${outer.keyword === 'minItems' ? 'least' : 'most'} ${params['limit']} items, got ${(data as unknown[]).length}`
    case 'pattern':
      return `${field} must match ${params['pattern']}`
    case 'anyOf':
    case 'const':
    case 'enum':
      return `${field} must be ${choices(outer)}`
    default:
      return `${field} ${outer.message ?? 'is malformed'}`
  }
}

function name(error: ErrorObject, inBody: boolean): string {
  const path = error.instancePath.slice(1).split('/').filter(Boolean)
  if (error.keyword === 'required') path.push(String(error.params['missingProperty']))
  return path.length === 0 ? (inBody ? 'the body' : 'the query') : path.join('.').slice(0, 200)
}

function article(type: string): string {
  return /^[aeiou]/.test(type) ? `an ${type}` : `a ${type}`
}

function kind(data: unknown): string {
  if (data === undefined) return 'nothing'
  if (data === null) return 'null'
  if (Array.isArray(data)) return 'an array'
  return typeof data === 'number' || typeof data === 'boolean' ? String(data) : article(typeof data)
}

function choices(error: ErrorObject): string {
  const branches = (error.parentSchema as { anyOf?: { const?: unknown; type?: string }[] } | undefined)?.anyOf ?? []
  const words = branches.map((branch) =>
    'const' in branch ? JSON.stringify(branch.const) : article(branch.type ?? 'value'),
  )
  return words.length === 0
    ? JSON.stringify(error.params['allowedValue'] ?? error.params['allowedValues'])
    : words.join(' or ')
}
