import type { Context } from '../context.ts'
import type { Caller } from './sandbox.ts'

export interface SandboxLog {
  readonly at: Date
  readonly line: string
}

/** Lifecycle events, oldest first, readable after the end. Refuses: sandbox_not_found. */
export async function sandboxLogs(
  context: Context,
  caller: Caller,
  sandboxID: string,
  page: { readonly start: number; readonly limit: number },
): Promise<SandboxLog[]> {
  throw new Error('follows')
}
