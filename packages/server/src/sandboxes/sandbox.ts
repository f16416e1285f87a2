// A sandbox inside the control plane: three types, since what comes in, what goes out and what is stored are three things.
import type { EndReason, State } from '@lelantos-ai/contract'

/** Who asks: every query is scoped to the team. */
export interface Caller {
  readonly teamID: string
  readonly keyID: string
}

/** What is stored, as verbs and `http/` see it. */
export interface Sandbox {
  readonly sandboxID: string
  readonly teamID: string
  readonly templateID: string
  /** Name of the template, `base` say. */
  readonly alias: string | null
  readonly buildID: string
  readonly state: State
  readonly generation: number
  readonly workerID: string | null
  readonly machineID: string | null
  /** Where the edge reaches the guest, while it runs. */
  readonly address: string | null
  /** Of a paused sandbox, or one that was resumed from it. */
  readonly snapshotID: string | null
  readonly createdAt: Date
  /** When it first ran; null if it never did. */
  readonly startedAt: Date | null
  /** When it expires; null for never. Of a paused sandbox meaningless. */
  readonly endAt: Date | null
  /** The timeout last set, in seconds: a resume starts it anew. */
  readonly timeoutSeconds: number
  readonly cpuCount: number
  readonly memoryMB: number
  readonly diskSizeMB: number
  readonly metadata: Readonly<Record<string, string>>
  readonly envdVersion: string
  readonly endReason: EndReason | null
  readonly endedAt: Date | null
  /** Why its last operation did not work; null when it did. */
  readonly failure: Failure | null
  /** Generation of the order that made the present machine: a report about an older one is late. */
  readonly machineGeneration: number
  /** Workers that were asked to create it. */
  readonly placements: readonly string[]
  /** Paused by the host's shutdown: the next start resumes it, with `remainingMs` of its time (null for never). */
  readonly resumeAtStart: boolean
  readonly remainingMs: number | null
}

/** `code` is a worker's `FailureCode`, or a word of a reconciler's. */
export interface Failure {
  readonly code: string
  readonly message: string
}

/** What a create asks for, once its foreign or native words have been read. */
export interface NewSandbox {
  /** Id or name. */
  readonly template: string
  readonly timeoutSeconds: number
  readonly metadata: Readonly<Record<string, string>>
  readonly envVars: Readonly<Record<string, string>>
  /** From the header, with a hash of the body it came with. */
  readonly idempotency?: { readonly key: string; readonly bodyHash: string }
}
