// What every command gets.
import type { LelantosClient } from '@lelantos-ai/sdk'

export interface Context {
  /** Data as JSON. */
  readonly json: boolean
  /** Aborted by Ctrl-C and SIGTERM; the reason is an `Interrupted`. */
  readonly signal: AbortSignal
  readonly client: LelantosClient
}

/** The exit code; 0 where it returns nothing. */
export type Outcome = Promise<number | void>
