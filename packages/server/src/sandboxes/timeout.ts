// Deadlines: of a running sandbox a date, which the worker is told too; of a paused one the seconds it gets at its resume.
import { newID } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'
import { endAfter } from './deadline.ts'
import { moveSandbox } from './move.ts'
import { tryMove } from './refusals.ts'
import type { Caller, Sandbox } from './sandbox.ts'

/** Sets the timeout, counted from now; 0 never expires. Of a paused sandbox it counts from its resume. Refuses: sandbox_not_found, sandbox_moving. */
export async function setTimeout(
  context: Context,
  caller: Caller,
  sandboxID: string,
  timeoutSeconds: number,
): Promise<Sandbox> {
  return tryMove(context, caller, { move: 'timeout', sandboxID }, async (sandbox) =>
    sandbox.state === 'running'
      ? setDeadline(context, sandbox, { timeoutSeconds, endAt: endAfter(context.clock(), timeoutSeconds) })
      : setPausedTimeout(context, sandbox, timeoutSeconds),
  )
}

/** At least this many seconds from now (the timeout last set unless given): never shortens. Refuses: sandbox_not_found, sandbox_moving. */
export async function refreshSandbox(
  context: Context,
  caller: Caller,
  sandboxID: string,
  timeoutSeconds?: number,
): Promise<Sandbox> {
  return tryMove(context, caller, { move: 'timeout', sandboxID }, async (sandbox) => {
    const seconds = timeoutSeconds ?? sandbox.timeoutSeconds
    if (sandbox.state !== 'running') {
      const longer = seconds === 0 || (sandbox.timeoutSeconds !== 0 && seconds > sandbox.timeoutSeconds)
      return longer ? setPausedTimeout(context, sandbox, seconds) : sandbox
    }
    const endAt = endAfter(context.clock(), seconds)
    const longer = sandbox.endAt !== null && (endAt === null || endAt > sandbox.endAt)
    return longer ? setDeadline(context, sandbox, { endAt }) : sandbox
  })
}

/** Guarded by the generation it was read at, so that of two at a time the later one wins knowingly. */
async function setDeadline(
  context: Context,
  { sandboxID, teamID, generation }: Sandbox,
  time: { readonly endAt: Date | null; readonly timeoutSeconds?: number },
): Promise<Sandbox | undefined> {
  const moving = await moveSandbox(context, 'setDeadline', {
    sandboxID,
    teamID,
    generation,
    set: {
      end_at: time.endAt,
      ...(time.timeoutSeconds === undefined ? {} : { timeout_seconds: time.timeoutSeconds }),
    },
    order: { operationID: newID('operation'), args: { endAt: time.endAt?.toISOString() ?? null } },
  })
  return moving?.sandbox
}

async function setPausedTimeout(
  context: Context,
  { sandboxID, teamID, resumeAtStart }: Sandbox,
  timeoutSeconds: number,
): Promise<Sandbox | undefined> {
  const moving = await moveSandbox(context, 'setPausedTimeout', {
    sandboxID,
    teamID,
    set: {
      timeout_seconds: timeoutSeconds,
      ...(resumeAtStart ? { remaining_ms: timeoutSeconds === 0 ? null : timeoutSeconds * 1000 } : {}),
    },
  })
  return moving?.sandbox
}
