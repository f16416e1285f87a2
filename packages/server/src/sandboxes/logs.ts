import type { Context } from '../context.ts'
import { pageOfEvents } from '../store/events.ts'
import { findSandbox } from '../store/sandboxes.ts'
import { notFound } from './refusals.ts'
import type { Caller } from './sandbox.ts'

export interface SandboxLog {
  readonly at: Date
  readonly line: string
}

/** Lifecycle events, oldest first, readable after the end; `start` of them are skipped. Refuses: sandbox_not_found. */
export async function sandboxLogs(
  context: Context,
  caller: Caller,
  sandboxID: string,
  page: { readonly start: number; readonly limit: number },
): Promise<SandboxLog[]> {
  const lines = await pageOfEvents(context.store, { teamID: caller.teamID, sandboxID, ...page })
  // A sandbox has an event from its first moment on: only an empty page needs the question whether there is one.
  if (lines.length === 0 && (await findSandbox(context.store, caller.teamID, sandboxID)) === undefined)
    throw notFound(sandboxID)
  return lines
}
