import { Refused } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'
import { findSandbox } from '../store/sandboxes.ts'
import { notFound } from './refusals.ts'
import { resumeSandbox } from './resume.ts'
import type { Caller, Sandbox } from './sandbox.ts'
import { refreshSandbox } from './timeout.ts'

/**
 * Resumes a sandbox that is paused, or extends the timeout of one that runs (never shortens it). Refuses as
 * `resumeSandbox` does, but `not_paused`.
 */
export async function connectSandbox(
  context: Context,
  caller: Caller,
  sandboxID: string,
  options: { readonly timeoutSeconds?: number } = {},
): Promise<{ sandbox: Sandbox; resumed: boolean }> {
  const present = await findSandbox(context.store, caller.teamID, sandboxID)
  if (present === undefined) throw notFound(sandboxID)
  if (present.state === 'paused') {
    try {
      return { sandbox: await resumeSandbox(context, caller, sandboxID, options), resumed: true }
    } catch (error) {
      // Somebody else has resumed it meanwhile: then it is only to be extended.
      if (!(error instanceof Refused && error.refusal.error === 'not_paused')) throw error
    }
  }
  return { sandbox: await refreshSandbox(context, caller, sandboxID, options.timeoutSeconds), resumed: false }
}
