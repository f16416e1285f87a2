import { newID, Refused, transitionDeadlineMs } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'
import type { Moving } from '../store/moves.ts'
import { mustBeConnected } from '../workers/place.ts'
import { endAfter } from './deadline.ts'
import { moveSandbox } from './move.ts'
import { notFound, tryMove } from './refusals.ts'
import type { Caller, Sandbox } from './sandbox.ts'
import { waitUntilSettled } from './wait.ts'

/**
 * Brings a paused sandbox back and waits until it runs. Its timeout starts anew: `timeoutSeconds`, else the one last set.
 * Refuses: sandbox_not_found, not_paused, sandbox_moving, resume_failed, capacity_unavailable, disk_full, unavailable,
 * operation_timeout.
 */
export async function resumeSandbox(
  context: Context,
  caller: Caller,
  sandboxID: string,
  options: { readonly timeoutSeconds?: number } = {},
): Promise<Sandbox> {
  const resuming = await tryMove(context, caller, { move: 'resume', sandboxID }, async (sandbox) => {
    mustBeConnected(context, sandbox)
    const timeoutSeconds = options.timeoutSeconds ?? sandbox.timeoutSeconds
    return beginResume(context, sandbox, { timeoutSeconds, endAt: endAfter(context.clock(), timeoutSeconds) })
  })
  return finishResume(context, resuming)
}

/** Moves a paused sandbox to resuming; `undefined` when it has been moved since it was read. */
export function beginResume(
  context: Context,
  sandbox: Sandbox,
  time: { readonly timeoutSeconds: number; readonly endAt: Date | null },
): Promise<Moving | undefined> {
  const { sandboxID, teamID, generation, snapshotID } = sandbox
  if (snapshotID === null) throw new Error(`paused sandbox ${sandboxID} has no snapshot`)
  const bootID =
    sandbox.workerID === null ? undefined : context.workers.get(sandbox.workerID, context.clock())?.statement.bootID
  return moveSandbox(context, 'resume', {
    sandboxID,
    teamID,
    generation,
    set: {
      timeout_seconds: time.timeoutSeconds,
      end_at: time.endAt,
      ...(bootID === undefined ? {} : { boot_id: bootID }),
    },
    order: { operationID: newID('operation'), args: { snapshotID, endAt: time.endAt?.toISOString() ?? null } },
  })
}

/** Waits for a resume under way, and refuses as it fails. */
export async function finishResume(context: Context, resuming: Moving): Promise<Sandbox> {
  const { sandboxID } = resuming.sandbox
  const timeoutMs = transitionDeadlineMs.resuming
  const settled = await waitUntilSettled(context, resuming, { timeoutMs, delivery: 'needed' })
  if (settled === 'undelivered') throw new Refused('unavailable', 'the worker cannot be reached: the resume goes on', 1)
  if (settled === 'timeout') throw new Refused('operation_timeout', `the resume has not finished in ${timeoutMs} ms`)
  if (settled.endReason !== null) throw notFound(sandboxID)
  if (settled.state !== 'paused' || settled.failure === null) return settled
  switch (settled.failure.code) {
    case 'full':
      throw new Refused('capacity_unavailable', 'its worker has no room to resume the sandbox', 5)
    case 'disk_full':
      throw new Refused('disk_full', 'the VM volume is below its reserve', 30)
    case 'overdue':
      throw new Refused('operation_timeout', settled.failure.message)
    default:
      throw new Refused('resume_failed', `sandbox ${sandboxID} could not be resumed: ${settled.failure.message}`)
  }
}
