import type { Context } from '../context.ts'
import type { Caller, Sandbox } from './sandbox.ts'

/**
 * Brings a paused sandbox back and waits until it runs. Its timeout starts anew: `timeoutSeconds`, else the one last set.
 * Refuses: sandbox_not_found, not_paused, sandbox_moving, resume_failed, capacity_unavailable, disk_full, unavailable, operation_timeout.
 */
export async function resumeSandbox(
  context: Context,
  caller: Caller,
  sandboxID: string,
  options: { readonly timeoutSeconds?: number } = {},
): Promise<Sandbox> {
  throw new Error('follows')
}
