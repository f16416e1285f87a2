// Every number a user can run into, each stated once. Times end in their unit; MB means MiB, as on the wire.

export const limits = {
  // A template's resources.
  cpuCount: { default: 2, minimum: 1, maximum: 8 },
  memoryMB: { default: 512, minimum: 128, maximum: 8192 },
  diskSizeMB: 20_480,

  // A sandbox's timeout, in seconds. 0 never expires.
  timeoutSeconds: {
    native: 86_400,
    e2bV1: 15,
    e2bV2: 300,
    maximum: 2_592_000,
  },
  refreshesMaximumSeconds: 3600,

  // What a create may carry.
  metadataBytes: 65_536,
  environmentBytes: 262_144,
  /** As JSON, which writes a control character in six bytes: sealed, it has to fit a message of the bus (1 MB). */
  environmentJSONBytes: 524_288,
  /** The longest argument or `NAME=value` that Linux starts a process with: MAX_ARG_STRLEN but its NUL. */
  argumentBytes: 131_071,
  environmentNamePattern: '^[A-Za-z_][A-Za-z0-9_]*$',
  nameLength: 128,

  // Requests.
  bodyBytes: 1_048_576,
  headerBytes: 65_536,
  uploadBytes: 8_589_934_592,
  jsonDepth: 64,
  pageSize: { default: 100, maximum: 100 },
  logsPage: { default: 100, maximum: 1000 },
  idempotencyKeyLength: 255,
  idempotencyHours: 24,

  // `/exec` and `/rpc` gather what a command prints; streams of any length go over envd's wire.
  execOutputBytes: 16_777_216,
  execTimeoutSeconds: { default: 60, maximum: 3600 },

  // How long things may take.
  deadlineToleranceMs: 250,
  killAnswerMs: 5000,
  createAnswerMs: 60_000,
  busRequestMs: 2000,
  workerSilentMs: 5000,
  workerLostMs: 300_000,
  clockToleranceMs: 50,
  clockRefreshMs: 300_000,

  // What a machine costs its host beyond the guest's memory, by what runs it.
  overheadMB: { tcg: 320, kvm: 64, none: 0 },

  // Disk overlays above a template's image that a paused sandbox may be made of.
  diskChain: 4,
  placementAttempts: 3,
} as const

/** Ports that mean something by their number. */
export const ports = {
  api: 3000,
  envd: 49_983,
  dns: 53,
} as const

/** Addresses every guest sees: one snapshot fits every slot because they never differ. */
export const guestNetwork = {
  guestAddress: '169.254.0.21',
  gateway: '169.254.0.22',
  prefixLength: 30,
  guestMAC: '02:00:00:00:00:01',
  gatewayMAC: '02:00:00:00:00:02',
} as const

/** The envd version the guest daemon reports: what it implements of E2B's wire, so that clients ask for no more. */
export const ENVD_VERSION = '0.5.7'
