// What travels over the API, as JSON Schema: validation, OpenAPI and types are one thing. Unknown properties of a request
// body are tolerated (clients are newer than servers), wrong types are not.
import Type, { type Static, type TProperties } from 'typebox'
import { endReasons, publicStates } from './lifecycle.ts'
import { limits } from './limits.ts'

/** A schema with a name: OpenAPI lists it under components, the SDK's generated types carry the name. */
function named<P extends TProperties>(name: string, properties: P, description: string) {
  return Type.Object(properties, { $id: name, description })
}

const Time = Type.String({ description: 'ISO 8601 with milliseconds, UTC' })
const StringMap = Type.Record(Type.String(), Type.String())
const PublicState = Type.Enum(publicStates)
const timeout = Type.Integer({
  minimum: 0,
  maximum: limits.timeoutSeconds.maximum,
  description: 'Seconds from now; 0 never expires',
})

export const ErrorBody = named(
  'Error',
  {
    code: Type.Integer({ description: 'The HTTP status' }),
    message: Type.String(),
    error: Type.String({ description: 'A stable word for programs' }),
    requestId: Type.String(),
  },
  'Every error.',
)

export const NewSandbox = named(
  'NewSandbox',
  {
    templateID: Type.String({ minLength: 1, maxLength: limits.nameLength, description: 'Id or name of a template' }),
    timeout: Type.Optional(timeout),
    metadata: Type.Optional(StringMap),
    envVars: Type.Optional(StringMap),
  },
  'What a sandbox is created from.',
)

export const Sandbox = named(
  'Sandbox',
  {
    templateID: Type.String(),
    sandboxID: Type.String(),
    alias: Type.Optional(Type.String()),
    clientID: Type.String({ description: 'Kept for E2B clients; means nothing here' }),
    envdVersion: Type.String(),
    envdAccessToken: Type.String({ description: 'Opens the in-VM API of this sandbox' }),
    trafficAccessToken: Type.Optional(Type.String()),
    domain: Type.String({ description: 'The sandbox answers at https://{port}-{sandboxID}.{domain}' }),
    state: PublicState,
    status: PublicState,
  },
  'A sandbox as its creator gets it.',
)

const listed = {
  templateID: Type.String(),
  alias: Type.Optional(Type.String()),
  sandboxID: Type.String(),
  clientID: Type.String(),
  startedAt: Time,
  endAt: Type.Union([Time, Type.Null()], { description: 'When it expires; null for never' }),
  cpuCount: Type.Integer(),
  memoryMB: Type.Integer(),
  diskSizeMB: Type.Integer(),
  metadata: StringMap,
  state: PublicState,
  status: PublicState,
  envdVersion: Type.String(),
  volumeMounts: Type.Array(Type.Unknown()),
}

export const ListedSandbox = named('ListedSandbox', listed, 'A sandbox in a list.')

export const SandboxDetail = named(
  'SandboxDetail',
  {
    ...listed,
    envdAccessToken: Type.Optional(Type.String()),
    domain: Type.String(),
    endReason: Type.Optional(Type.Enum(endReasons)),
    endedAt: Type.Optional(Time),
  },
  'Everything about one sandbox.',
)

export const ResumeSandbox = named(
  'ResumeSandbox',
  { timeout: Type.Optional(timeout) },
  'A resume: the timeout starts anew.',
)
export const SetTimeout = named('SetTimeout', { timeout }, 'A new timeout, counted from now.')
export const Refresh = named(
  'Refresh',
  { timeout: Type.Optional(timeout), duration: Type.Optional(timeout) },
  'At least this many seconds from now: never shortens.',
)

export const Exec = named(
  'Exec',
  {
    cmd: Type.String({ minLength: 1, maxLength: 131_072, description: 'Run by bash -lc' }),
    cwd: Type.Optional(Type.String({ maxLength: 4096 })),
    envs: Type.Optional(StringMap),
    user: Type.Optional(Type.String({ maxLength: 64, description: 'root unless given' })),
    timeout: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: limits.execTimeoutSeconds.maximum,
        description: 'Seconds; then it is killed',
      }),
    ),
  },
  'A command to run to its end.',
)
export const ExecResult = named(
  'ExecResult',
  { stdout: Type.String(), stderr: Type.String(), exitCode: Type.Integer() },
  'What a command printed, and how it ended. A signal gives 128 + its number.',
)

export const LogLine = named('LogLine', { timestamp: Time, line: Type.String() }, 'One lifecycle event.')
export const Logs = named('Logs', { logs: Type.Array(LogLine) }, 'Lifecycle events, oldest first.')

export const Metric = named(
  'Metric',
  {
    timestamp: Time,
    timestampUnix: Type.Integer(),
    cpuCount: Type.Integer(),
    cpuUsedPct: Type.Number({ description: 'Of one CPU: two busy CPUs are 200' }),
    memUsed: Type.Integer({ description: 'Bytes' }),
    memTotal: Type.Integer(),
    memCache: Type.Integer(),
    diskUsed: Type.Integer(),
    diskTotal: Type.Integer(),
  },
  'What the guest says of its resources. Untrusted, as everything from a guest.',
)

export const Template = named(
  'Template',
  {
    templateID: Type.String(),
    buildID: Type.String(),
    cpuCount: Type.Integer(),
    memoryMB: Type.Integer(),
    diskSizeMB: Type.Integer(),
    public: Type.Boolean(),
    aliases: Type.Array(Type.String()),
    names: Type.Array(Type.String()),
    createdAt: Time,
    updatedAt: Time,
    createdBy: Type.Union([Type.Unknown(), Type.Null()]),
    lastSpawnedAt: Type.Union([Time, Type.Null()]),
    spawnCount: Type.Integer(),
    buildCount: Type.Integer(),
    buildStatus: Type.String(),
    envdVersion: Type.String(),
  },
  'A template and its newest build.',
)

export const FileInfo = named(
  'FileInfo',
  { name: Type.String(), path: Type.String(), type: Type.String() },
  'A file that was written.',
)

export const NewKey = named(
  'NewKey',
  { name: Type.String({ minLength: 1, maxLength: limits.nameLength }) },
  'An API key to make.',
)
export const ListedKey = named(
  'ListedKey',
  {
    id: Type.String(),
    name: Type.String(),
    mask: Type.String({ description: 'The ends of the key, enough to recognise it' }),
    createdAt: Time,
    lastUsedAt: Type.Union([Time, Type.Null()]),
  },
  'An API key, without the key.',
)
export const CreatedKey = named(
  'CreatedKey',
  { id: Type.String(), name: Type.String(), apiKey: Type.String({ description: 'Shown this once' }) },
  'A new API key.',
)

export const Health = named('Health', { status: Type.Literal('ok'), version: Type.String() }, 'The server is up.')

export type ErrorBody = Static<typeof ErrorBody>
export type NewSandbox = Static<typeof NewSandbox>
export type Sandbox = Static<typeof Sandbox>
export type ListedSandbox = Static<typeof ListedSandbox>
export type SandboxDetail = Static<typeof SandboxDetail>
export type Exec = Static<typeof Exec>
export type ExecResult = Static<typeof ExecResult>
export type LogLine = Static<typeof LogLine>
export type Metric = Static<typeof Metric>
export type Template = Static<typeof Template>
export type FileInfo = Static<typeof FileInfo>
export type ListedKey = Static<typeof ListedKey>
export type CreatedKey = Static<typeof CreatedKey>
