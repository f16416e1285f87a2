import type { Context } from '../context.ts'
import type { Caller, Sandbox } from './sandbox.ts'

/** Writes memory and disk out and waits until that is done. Refuses: sandbox_not_found, already_paused, sandbox_not_running, sandbox_moving, pause_failed, disk_full, unavailable, operation_timeout. */
export async function pauseSandbox(context: Context, caller: Caller, sandboxID: string): Promise<Sandbox> {
  throw new Error('follows')
}
