// The OpenAPI 3.1 description, made from the table of routes: served at `/openapi.json` and kept in `docs/openapi.json`.
// Schemas with a name become components; each route lists every status it can answer with.
import { type ErrorCode, errors } from './errors.ts'
import { type Route, routes } from './routes.ts'
import * as schemas from './schemas.ts'

type Json = null | boolean | number | string | Json[] | { [name: string]: Json }
type JsonObject = { [name: string]: Json }

/** What every route can refuse with; then those that need a key, and those that have a body. */
const EVERY: readonly ErrorCode[] = ['bad_request', 'headers_too_large', 'internal', 'unavailable']
const WITH_KEY: readonly ErrorCode[] = ['unauthorized', 'forbidden']
const WITH_BODY: readonly ErrorCode[] = ['payload_too_large', 'unsupported_media_type', 'request_timeout']
const BINARY: JsonObject = { type: 'string', format: 'binary' }

/** The document. The same for the same contract and version, to the byte. */
export function openapi(version: string): JsonObject {
  const components: JsonObject = {}
  const paths: Record<string, JsonObject> = {}
  const reference = referrer(components)
  const error = reference(schemas.ErrorBody)
  for (const [name, route] of Object.entries(routes) as [string, Route][]) {
    const path = (paths[route.path] ??= {})
    path[route.method.toLowerCase()] = {
      operationId: name,
      summary: route.summary,
      security: route.auth === 'none' ? [] : [{ apiKey: [] }, { bearer: [] }],
      ...parameters(route, reference),
      ...requestBody(route, reference),
      responses: { ...success(route, reference), ...failures(route, error) },
    }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Lelantos',
      version,
      description:
        'Sandboxes for AI agents: microVMs that start from a snapshot, pause with their memory, resume as they were.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    paths,
    components: {
      schemas: Object.fromEntries(Object.entries(components).sort(([a], [b]) => (a < b ? -1 : 1))),
      securitySchemes: {
        apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key' },
        bearer: { type: 'http', scheme: 'bearer', description: 'The same API key' },
      },
    },
  }
}

type Refer = (schema: unknown) => Json

/** Copies a schema, putting a reference where a named one stands and the named one among the components. */
function referrer(components: JsonObject): Refer {
  const copy = (value: Json): Json => {
    if (Array.isArray(value)) return value.map(copy)
    if (typeof value !== 'object' || value === null) return value
    const { $id, ...rest } = value
    const fields = Object.fromEntries(Object.entries(rest).map(([name, inner]) => [name, copy(inner)]))
    if (typeof $id !== 'string') return fields
    components[$id] = fields
    return { $ref: `#/components/schemas/${$id}` }
  }
  return (schema) => copy(JSON.parse(JSON.stringify(schema)) as Json)
}

function parameters(route: Route, reference: Refer): JsonObject {
  const inPath = [...route.path.matchAll(/\{(\w+)\}/g)].map(([, name]): JsonObject => ({
    name: name as string,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }))
  const query = (route.query === undefined ? {} : reference(route.query)) as {
    properties?: Record<string, JsonObject>
    required?: string[]
  }
  const inQuery = Object.entries(query.properties ?? {}).map(([name, { description, ...schema }]): JsonObject => {
    const required = query.required?.includes(name) ?? false
    return { name, in: 'query', required, ...(description === undefined ? {} : { description }), schema }
  })
  const inHeader: JsonObject[] = (route.headers ?? []).map(({ name, summary }) => ({
    name,
    in: 'header',
    required: false,
    description: summary,
    schema: { type: 'string' },
  }))
  const all = [...inPath, ...inQuery, ...inHeader]
  return all.length === 0 ? {} : { parameters: all }
}

function requestBody(route: Route, reference: Refer): JsonObject {
  if (route.uploads === true) {
    const form = {
      type: 'object',
      required: ['file'],
      properties: { path: { type: 'string', description: 'Comes before the file' }, file: BINARY },
    }
    const content = { 'multipart/form-data': { schema: form }, 'application/octet-stream': { schema: BINARY } }
    return { requestBody: { required: true, content } }
  }
  if (route.body === undefined) return {}
  const content = { 'application/json': { schema: reference(route.body) } }
  return { requestBody: { required: route.bodyOptional !== true, content } }
}

function success(route: Route, reference: Refer): JsonObject {
  const { status, schema } = route.success
  if (route.downloads === true)
    return { [status]: { description: 'The bytes', content: { 'application/octet-stream': { schema: BINARY } } } }
  if (schema === undefined) return { [status]: { description: 'Done; no body' } }
  return { [status]: { description: route.summary, content: { 'application/json': { schema: reference(schema) } } } }
}

/** By status: one status may carry several codes. */
function failures(route: Route, error: Json): JsonObject {
  const codes = new Set<ErrorCode>([
    ...EVERY,
    ...(route.auth === 'key' ? WITH_KEY : []),
    ...(route.body === undefined && route.uploads !== true ? [] : WITH_BODY),
    ...route.errors,
  ])
  const byStatus: Record<number, string[]> = {}
  for (const code of codes) (byStatus[errors[code].status] ??= []).push(`\`${code}\`: ${errors[code].means}`)
  return Object.fromEntries(
    Object.entries(byStatus).map(([status, words]) => [
      status,
      { description: words.join('\n'), content: { 'application/json': { schema: error } } },
    ]),
  )
}
