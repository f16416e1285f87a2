// The API's routes, each once. Handlers, OpenAPI, the SDK's coverage test and the reference pages derive from this table.
// Foreign (E2B) routes that differ from these live in the server's `http/e2b/`, translated to the same verbs.
import Type, { type TSchema } from 'typebox'
import * as schemas from './schemas.ts'
import { limits } from './limits.ts'
import { publicStates } from './lifecycle.ts'
import type { ErrorCode } from './errors.ts'

export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** `{name}` stands for a path parameter. */
  readonly path: string
  readonly summary: string
  /** `key`: an API key of the team. `none`: open. */
  readonly auth: 'key' | 'none'
  readonly query?: TSchema
  readonly body?: TSchema
  /** The body may be left out altogether. */
  readonly bodyOptional?: true
  /** The body is a file: multipart or an octet-stream. */
  readonly uploads?: true
  /** The answer is a file, as an octet-stream. */
  readonly downloads?: true
  /** Headers that mean something here, beside the credentials. */
  readonly headers?: readonly { readonly name: string; readonly summary: string }[]
  /** Status and schema of the success; no schema means no body. */
  readonly success: { readonly status: 200 | 201 | 204; readonly schema?: TSchema }
  /** Refusals beyond those every route can have (bad_request, unauthorized, internal, unavailable). */
  readonly errors: readonly ErrorCode[]
}

const integer = (minimum: number, maximum: number, byDefault?: number) =>
  Type.Optional(Type.Integer({ minimum, maximum, ...(byDefault === undefined ? {} : { default: byDefault }) }))
const metadataFilter = Type.Optional(
  Type.String({ description: 'URL-encoded pairs, `user=u1&run=7`, themselves encoded as one query value' }),
)
const page = {
  limit: integer(1, limits.pageSize.maximum, limits.pageSize.default),
  nextToken: Type.Optional(Type.String({ maxLength: 512 })),
}

export const routes = {
  health: {
    method: 'GET',
    path: '/health',
    summary: 'Whether the server is up',
    auth: 'none',
    success: { status: 200, schema: schemas.Health },
    errors: [],
  },
  openapi: {
    method: 'GET',
    path: '/openapi.json',
    summary: 'This description',
    auth: 'none',
    success: { status: 200, schema: Type.Unknown() },
    errors: [],
  },
  createSandbox: {
    method: 'POST',
    path: '/sandboxes',
    summary: 'Create a sandbox',
    auth: 'key',
    headers: [{ name: 'Idempotency-Key', summary: 'Within 24 h, the same key and body give the same sandbox' }],
    body: schemas.NewSandbox,
    success: { status: 201, schema: schemas.Sandbox },
    errors: [
      'template_not_found',
      'idempotency_mismatch',
      'create_failed',
      'capacity_unavailable',
      'disk_full',
      'operation_timeout',
    ],
  },
  listSandboxes: {
    method: 'GET',
    path: '/sandboxes',
    summary: 'Every live sandbox of the team, running and paused',
    auth: 'key',
    query: Type.Object({ metadata: metadataFilter }),
    success: { status: 200, schema: Type.Array(schemas.ListedSandbox) },
    errors: [],
  },
  listSandboxesV2: {
    method: 'GET',
    path: '/v2/sandboxes',
    summary: 'Sandboxes by page, newest first; the cursor of the next page is in X-Next-Token',
    auth: 'key',
    query: Type.Object({
      metadata: metadataFilter,
      state: Type.Optional(
        Type.String({ description: `Comma-separated, of ${publicStates.join(', ')}; running,paused unless given` }),
      ),
      order: Type.Optional(Type.Union([Type.Literal('asc'), Type.Literal('desc')])),
      ...page,
    }),
    success: { status: 200, schema: Type.Array(schemas.ListedSandbox) },
    errors: [],
  },
  getSandbox: {
    method: 'GET',
    path: '/sandboxes/{sandboxID}',
    summary: 'One sandbox; one that has ended only with terminated=true',
    auth: 'key',
    query: Type.Object({ terminated: Type.Optional(Type.Boolean()) }),
    success: { status: 200, schema: schemas.SandboxDetail },
    errors: ['sandbox_not_found'],
  },
  killSandbox: {
    method: 'DELETE',
    path: '/sandboxes/{sandboxID}',
    summary: 'Kill a sandbox, from whatever state',
    auth: 'key',
    success: { status: 204 },
    errors: ['sandbox_not_found'],
  },
  pauseSandbox: {
    method: 'POST',
    path: '/sandboxes/{sandboxID}/pause',
    summary: 'Write memory and disk out and release the host',
    auth: 'key',
    body: Type.Object({}),
    bodyOptional: true,
    success: { status: 204 },
    errors: [
      'sandbox_not_found',
      'already_paused',
      'sandbox_not_running',
      'sandbox_moving',
      'pause_failed',
      'disk_full',
      'operation_timeout',
    ],
  },
  resumeSandbox: {
    method: 'POST',
    path: '/sandboxes/{sandboxID}/resume',
    summary: 'Bring a paused sandbox back exactly as it was',
    auth: 'key',
    body: schemas.ResumeSandbox,
    bodyOptional: true,
    success: { status: 201, schema: schemas.Sandbox },
    errors: [
      'sandbox_not_found',
      'not_paused',
      'sandbox_moving',
      'resume_failed',
      'capacity_unavailable',
      'disk_full',
      'operation_timeout',
    ],
  },
  setSandboxTimeout: {
    method: 'POST',
    path: '/sandboxes/{sandboxID}/timeout',
    summary: 'Set the timeout, counted from now',
    auth: 'key',
    body: schemas.SetTimeout,
    success: { status: 204 },
    errors: ['sandbox_not_found', 'sandbox_moving'],
  },
  refreshSandbox: {
    method: 'POST',
    path: '/sandboxes/{sandboxID}/refresh',
    summary: 'Extend the timeout; never shortens it',
    auth: 'key',
    body: schemas.Refresh,
    success: { status: 204 },
    errors: ['sandbox_not_found', 'sandbox_moving'],
  },
  sandboxLogs: {
    method: 'GET',
    path: '/sandboxes/{sandboxID}/logs',
    summary: 'Lifecycle events, readable after the end',
    auth: 'key',
    query: Type.Object({
      start: integer(0, Number.MAX_SAFE_INTEGER, 0),
      limit: integer(1, limits.logsPage.maximum, limits.logsPage.default),
    }),
    success: { status: 200, schema: schemas.Logs },
    errors: ['sandbox_not_found'],
  },
  sandboxMetrics: {
    method: 'GET',
    path: '/sandboxes/{sandboxID}/metrics',
    summary: 'CPU, memory and disk of a running sandbox, newest last',
    auth: 'key',
    success: { status: 200, schema: Type.Array(schemas.Metric) },
    errors: ['sandbox_not_found', 'sandbox_unreachable'],
  },
  exec: {
    method: 'POST',
    path: '/sandboxes/{sandboxID}/exec',
    summary: 'Run a command to its end; streams and stdin are on the in-VM API',
    auth: 'key',
    body: schemas.Exec,
    success: { status: 200, schema: schemas.ExecResult },
    errors: [
      'sandbox_not_found',
      'sandbox_not_running',
      'sandbox_unreachable',
      'payload_too_large',
      'operation_timeout',
    ],
  },
  readFile: {
    method: 'GET',
    path: '/sandboxes/{sandboxID}/files',
    summary: 'Read a file',
    auth: 'key',
    downloads: true,
    query: Type.Object({
      path: Type.String({ minLength: 1, maxLength: 4096 }),
      username: Type.Optional(Type.String({ maxLength: 64 })),
    }),
    success: { status: 200, schema: Type.Unknown() },
    errors: ['sandbox_not_found', 'sandbox_not_running', 'sandbox_unreachable', 'file_not_found'],
  },
  writeFile: {
    method: 'POST',
    path: '/sandboxes/{sandboxID}/files',
    summary: 'Write a file: multipart fields path and file, or an octet-stream with path in the query',
    auth: 'key',
    uploads: true,
    query: Type.Object({
      path: Type.Optional(Type.String({ minLength: 1, maxLength: 4096 })),
      username: Type.Optional(Type.String({ maxLength: 64 })),
    }),
    success: { status: 201, schema: Type.Array(schemas.FileInfo) },
    errors: [
      'sandbox_not_found',
      'sandbox_not_running',
      'sandbox_unreachable',
      'payload_too_large',
      'unsupported_media_type',
      'sandbox_disk_full',
    ],
  },
  listTemplates: {
    method: 'GET',
    path: '/templates',
    summary: 'The templates your team can use',
    auth: 'key',
    query: Type.Object({ teamID: Type.Optional(Type.String()), ...page }),
    success: { status: 200, schema: Type.Array(schemas.Template) },
    errors: [],
  },
  getTemplate: {
    method: 'GET',
    path: '/templates/{templateID}',
    summary: 'One template, by id or name',
    auth: 'key',
    success: { status: 200, schema: schemas.Template },
    errors: ['template_not_found'],
  },
  listKeys: {
    method: 'GET',
    path: '/api-keys',
    summary: 'The API keys of your team',
    auth: 'key',
    success: { status: 200, schema: Type.Array(schemas.ListedKey) },
    errors: [],
  },
  createKey: {
    method: 'POST',
    path: '/api-keys',
    summary: 'Make an API key; it is shown this once',
    auth: 'key',
    body: schemas.NewKey,
    success: { status: 201, schema: schemas.CreatedKey },
    errors: [],
  },
  deleteKey: {
    method: 'DELETE',
    path: '/api-keys/{keyID}',
    summary: 'Delete an API key; it stops working at once',
    auth: 'key',
    success: { status: 204 },
    errors: ['key_not_found', 'last_key'],
  },
} as const satisfies Record<string, Route>

export type RouteName = keyof typeof routes
