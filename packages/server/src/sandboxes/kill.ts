import { limits, newID } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'
import { moveSandbox } from './move.ts'
import { notFound } from './refusals.ts'
import type { Caller } from './sandbox.ts'
import { waitUntilSettled } from './wait.ts'

/**
 * Ends a sandbox, from whatever state. Its route is cut when this has committed; then it waits for the worker,
 * `limits.killAnswerMs` at most, and resolves anyway: the order goes on. Refuses: sandbox_not_found (of one that has
 * ended, too).
 */
export async function killSandbox(context: Context, caller: Caller, sandboxID: string): Promise<void> {
  const killing = await moveSandbox(context, 'kill', {
    sandboxID,
    teamID: caller.teamID,
    reason: 'api',
    order: { operationID: newID('operation'), args: {} },
  })
  if (killing === undefined) throw notFound(sandboxID)
  await waitUntilSettled(context, killing, { timeoutMs: limits.killAnswerMs, delivery: 'not needed' })
}
