import type { Context } from '../context.ts'
import type { Caller, Sandbox } from './sandbox.ts'

/** Sets the timeout, counted from now; 0 never expires. Of a paused sandbox it counts from its resume. Refuses: sandbox_not_found, sandbox_moving. */
export async function setTimeout(
  context: Context,
  caller: Caller,
  sandboxID: string,
  timeoutSeconds: number,
): Promise<Sandbox> {
  throw new Error('follows')
}

/** At least this many seconds from now (the timeout last set unless given): never shortens. Refuses: sandbox_not_found, sandbox_moving. */
export async function refreshSandbox(
  context: Context,
  caller: Caller,
  sandboxID: string,
  timeoutSeconds?: number,
): Promise<Sandbox> {
  throw new Error('follows')
}
