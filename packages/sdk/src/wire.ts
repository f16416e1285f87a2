// Generated from packages/contract by `npm run generate`. Do not edit: change the contract.

/** The state of a sandbox as the outside sees it. */
export type PublicState = 'created' | 'running' | 'paused' | 'killed' | 'stopped'

/** Why a sandbox ended. */
export type EndReason =
  | 'api'
  | 'timeout'
  | 'error'
  | 'guest_shutdown'
  | 'guest_reset'
  | 'vmm_died'
  | 'host_restart'
  | 'worker_lost'

/** The stable word in the body of an error. */
export type ErrorCode =
  | 'bad_request'
  | 'unauthorized'
  | 'forbidden'
  | 'not_found'
  | 'sandbox_not_found'
  | 'template_not_found'
  | 'key_not_found'
  | 'file_not_found'
  | 'method_not_allowed'
  | 'request_timeout'
  | 'already_paused'
  | 'not_paused'
  | 'sandbox_not_running'
  | 'sandbox_moving'
  | 'last_key'
  | 'payload_too_large'
  | 'unsupported_media_type'
  | 'idempotency_mismatch'
  | 'headers_too_large'
  | 'internal'
  | 'create_failed'
  | 'pause_failed'
  | 'resume_failed'
  | 'not_supported'
  | 'sandbox_unreachable'
  | 'capacity_unavailable'
  | 'disk_full'
  | 'unavailable'
  | 'operation_timeout'
  | 'sandbox_disk_full'

/** A new API key. */
export interface CreatedKey {
  id: string
  name: string
  /** Shown this once */
  apiKey: string
}

/** Every error. */
export interface ErrorBody {
  /** The HTTP status */
  code: number
  message: string
  /** A stable word for programs */
  error: string
  requestId: string
}

/** A command to run to its end. */
export interface Exec {
  /** Run by bash -lc */
  cmd: string
  cwd?: string | undefined
  envs?: Record<string, string> | undefined
  /** root unless given */
  user?: string | undefined
  /** Seconds; then it is killed */
  timeout?: number | undefined
}

/** What a command printed, and how it ended. A signal gives 128 + its number. */
export interface ExecResult {
  stdout: string
  stderr: string
  exitCode: number
}

/** A file that was written. */
export interface FileInfo {
  name: string
  path: string
  type: string
}

/** The server is up. */
export interface Health {
  status: 'ok'
  version: string
}

/** An API key, without the key. */
export interface ListedKey {
  id: string
  name: string
  /** The ends of the key, enough to recognise it */
  mask: string
  /** ISO 8601 with milliseconds, UTC */
  createdAt: string
  lastUsedAt: string | null
}

/** A sandbox in a list. */
export interface ListedSandbox {
  templateID: string
  alias?: string | undefined
  sandboxID: string
  clientID: string
  /** ISO 8601 with milliseconds, UTC */
  startedAt: string
  /** When it expires; null for never */
  endAt: string | null
  cpuCount: number
  memoryMB: number
  diskSizeMB: number
  metadata: Record<string, string>
  state: PublicState
  status: PublicState
  envdVersion: string
  volumeMounts: unknown[]
}

/** One lifecycle event. */
export interface LogLine {
  /** ISO 8601 with milliseconds, UTC */
  timestamp: string
  line: string
}

/** Lifecycle events, oldest first. */
export interface Logs {
  logs: LogLine[]
}

/** What the guest says of its resources. Untrusted, as everything from a guest. */
export interface Metric {
  /** ISO 8601 with milliseconds, UTC */
  timestamp: string
  timestampUnix: number
  cpuCount: number
  /** Of one CPU: two busy CPUs are 200 */
  cpuUsedPct: number
  /** Bytes */
  memUsed: number
  memTotal: number
  memCache: number
  diskUsed: number
  diskTotal: number
}

/** An API key to make. */
export interface NewKey {
  name: string
}

/** What a sandbox is created from. */
export interface NewSandbox {
  /** Id or name of a template */
  templateID: string
  /** Seconds from now; 0 never expires */
  timeout?: number | undefined
  metadata?: Record<string, string> | undefined
  envVars?: Record<string, string> | undefined
}

/** At least this many seconds from now: never shortens. */
export interface Refresh {
  /** Seconds from now; 0 never expires */
  timeout?: number | undefined
  /** Seconds from now; 0 never expires */
  duration?: number | undefined
}

/** A resume: the timeout starts anew. */
export interface ResumeSandbox {
  /** Seconds from now; 0 never expires */
  timeout?: number | undefined
}

/** A sandbox as its creator gets it. */
export interface Sandbox {
  templateID: string
  sandboxID: string
  alias?: string | undefined
  /** Kept for E2B clients; means nothing here */
  clientID: string
  envdVersion: string
  /** Opens the in-VM API of this sandbox */
  envdAccessToken: string
  trafficAccessToken?: string | undefined
  /** The sandbox answers at https://{port}-{sandboxID}.{domain} */
  domain: string
  state: PublicState
  status: PublicState
}

/** Everything about one sandbox. */
export interface SandboxDetail {
  templateID: string
  alias?: string | undefined
  sandboxID: string
  clientID: string
  /** ISO 8601 with milliseconds, UTC */
  startedAt: string
  /** When it expires; null for never */
  endAt: string | null
  cpuCount: number
  memoryMB: number
  diskSizeMB: number
  metadata: Record<string, string>
  state: PublicState
  status: PublicState
  envdVersion: string
  volumeMounts: unknown[]
  envdAccessToken?: string | undefined
  domain: string
  endReason?: EndReason | undefined
  /** ISO 8601 with milliseconds, UTC */
  endedAt?: string | undefined
}

/** A new timeout, counted from now. */
export interface SetTimeout {
  /** Seconds from now; 0 never expires */
  timeout: number
}

/** A template and its newest build. */
export interface Template {
  templateID: string
  buildID: string
  cpuCount: number
  memoryMB: number
  diskSizeMB: number
  public: boolean
  aliases: string[]
  names: string[]
  /** ISO 8601 with milliseconds, UTC */
  createdAt: string
  /** ISO 8601 with milliseconds, UTC */
  updatedAt: string
  createdBy: unknown
  lastSpawnedAt: string | null
  spawnCount: number
  buildCount: number
  buildStatus: string
  envdVersion: string
}

/** Method and path of every route. `{name}` stands for a path parameter. */
export const routes = {
  health: { method: 'GET', path: '/health' },
  openapi: { method: 'GET', path: '/openapi.json' },
  createSandbox: { method: 'POST', path: '/sandboxes' },
  listSandboxes: { method: 'GET', path: '/sandboxes' },
  listSandboxesV2: { method: 'GET', path: '/v2/sandboxes' },
  getSandbox: { method: 'GET', path: '/sandboxes/{sandboxID}' },
  killSandbox: { method: 'DELETE', path: '/sandboxes/{sandboxID}' },
  pauseSandbox: { method: 'POST', path: '/sandboxes/{sandboxID}/pause' },
  resumeSandbox: { method: 'POST', path: '/sandboxes/{sandboxID}/resume' },
  setSandboxTimeout: { method: 'POST', path: '/sandboxes/{sandboxID}/timeout' },
  refreshSandbox: { method: 'POST', path: '/sandboxes/{sandboxID}/refresh' },
  sandboxLogs: { method: 'GET', path: '/sandboxes/{sandboxID}/logs' },
  sandboxMetrics: { method: 'GET', path: '/sandboxes/{sandboxID}/metrics' },
  exec: { method: 'POST', path: '/sandboxes/{sandboxID}/exec' },
  readFile: { method: 'GET', path: '/sandboxes/{sandboxID}/files' },
  writeFile: { method: 'POST', path: '/sandboxes/{sandboxID}/files' },
  listTemplates: { method: 'GET', path: '/templates' },
  getTemplate: { method: 'GET', path: '/templates/{templateID}' },
  listKeys: { method: 'GET', path: '/api-keys' },
  createKey: { method: 'POST', path: '/api-keys' },
  deleteKey: { method: 'DELETE', path: '/api-keys/{keyID}' },
} as const

/** What each route takes and gives. */
export interface Calls {
  /** Whether the server is up */
  health: {
    query: undefined
    body: undefined
    reply: Health
  }
  /** This description */
  openapi: {
    query: undefined
    body: undefined
    reply: unknown
  }
  /** Create a sandbox */
  createSandbox: {
    query: undefined
    body: NewSandbox
    reply: Sandbox
  }
  /** Every live sandbox of the team, running and paused */
  listSandboxes: {
    query: { metadata?: string | undefined }
    body: undefined
    reply: ListedSandbox[]
  }
  /** Sandboxes by page, newest first; the cursor of the next page is in X-Next-Token */
  listSandboxesV2: {
    query: {
      /** URL-encoded pairs, `user=u1&run=7`, themselves encoded as one query value */
      metadata?: string | undefined
      /** Comma-separated, of created, running, paused, killed, stopped; running,paused unless given */
      state?: string | undefined
      order?: 'asc' | 'desc' | undefined
      limit?: number | undefined
      nextToken?: string | undefined
    }
    body: undefined
    reply: ListedSandbox[]
  }
  /** One sandbox; one that has ended only with terminated=true */
  getSandbox: {
    query: { terminated?: boolean | undefined }
    body: undefined
    reply: SandboxDetail
  }
  /** Kill a sandbox, from whatever state */
  killSandbox: {
    query: undefined
    body: undefined
    reply: undefined
  }
  /** Write memory and disk out and release the host */
  pauseSandbox: {
    query: undefined
    body: Record<string, never>
    reply: undefined
  }
  /** Bring a paused sandbox back exactly as it was */
  resumeSandbox: {
    query: undefined
    body: ResumeSandbox
    reply: Sandbox
  }
  /** Set the timeout, counted from now */
  setSandboxTimeout: {
    query: undefined
    body: SetTimeout
    reply: undefined
  }
  /** Extend the timeout; never shortens it */
  refreshSandbox: {
    query: undefined
    body: Refresh
    reply: undefined
  }
  /** Lifecycle events, readable after the end */
  sandboxLogs: {
    query: { start?: number | undefined; limit?: number | undefined }
    body: undefined
    reply: Logs
  }
  /** CPU, memory and disk of a running sandbox, newest last */
  sandboxMetrics: {
    query: undefined
    body: undefined
    reply: Metric[]
  }
  /** Run a command to its end; streams and stdin are on the in-VM API */
  exec: {
    query: undefined
    body: Exec
    reply: ExecResult
  }
  /** Read a file */
  readFile: {
    query: { path: string; username?: string | undefined }
    body: undefined
    reply: unknown
  }
  /** Write a file: multipart fields path and file, or an octet-stream with path in the query */
  writeFile: {
    query: { path?: string | undefined; username?: string | undefined }
    body: undefined
    reply: FileInfo[]
  }
  /** The templates your team can use */
  listTemplates: {
    query: { teamID?: string | undefined; limit?: number | undefined; nextToken?: string | undefined }
    body: undefined
    reply: Template[]
  }
  /** One template, by id or name */
  getTemplate: {
    query: undefined
    body: undefined
    reply: Template
  }
  /** The API keys of your team */
  listKeys: {
    query: undefined
    body: undefined
    reply: ListedKey[]
  }
  /** Make an API key; it is shown this once */
  createKey: {
    query: undefined
    body: NewKey
    reply: CreatedKey
  }
  /** Delete an API key; it stops working at once */
  deleteKey: {
    query: undefined
    body: undefined
    reply: undefined
  }
}
