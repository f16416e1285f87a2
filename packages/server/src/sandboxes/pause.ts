import { newID, Refused, transitionDeadlineMs } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'
import { mustBeConnected } from '../workers/place.ts'
import { moveSandbox } from './move.ts'
import { notFound, tryMove } from './refusals.ts'
import type { Caller, Sandbox } from './sandbox.ts'
import { waitUntilSettled } from './wait.ts'

/**
 * Writes memory and disk out and waits until that is done. Refuses: sandbox_not_found, already_paused,
 * sandbox_not_running, sandbox_moving, pause_failed, disk_full, unavailable, operation_timeout.
 */
export async function pauseSandbox(context: Context, caller: Caller, sandboxID: string): Promise<Sandbox> {
  const pausing = await tryMove(context, caller, { move: 'pause', sandboxID }, async (sandbox) => {
    mustBeConnected(context, sandbox)
    const snapshotID = newID('snapshot')
    return moveSandbox(context, 'pause', {
      sandboxID,
      teamID: caller.teamID,
      order: { operationID: newID('operation'), args: { snapshotID } },
    })
  })
  const timeoutMs = transitionDeadlineMs.pausing
  const settled = await waitUntilSettled(context, pausing, { timeoutMs, delivery: 'needed' })
  if (settled === 'undelivered') throw new Refused('unavailable', 'the worker cannot be reached: the pause goes on', 1)
  if (settled === 'timeout') throw new Refused('operation_timeout', `the pause has not finished in ${timeoutMs} ms`)
  if (settled.failure?.code === 'disk_full') throw new Refused('disk_full', 'the VM volume is below its reserve', 30)
  if (settled.state === 'running' && settled.failure !== null)
    throw new Refused('pause_failed', `sandbox ${sandboxID} could not be paused: ${settled.failure.message}`)
  if (settled.endReason !== null) throw notFound(sandboxID)
  return settled
}
