// Ends sandboxes whose timeout has passed: sleeps until the next deadline, and at most for the tolerance, in which a new
// one may have been set.
import { limits, newID } from '@lelantos-ai/contract'
import { moveSandbox } from '../sandboxes/move.ts'
import { expiringSandboxes } from '../store/sandboxes.ts'
import type { Reconciler } from './loop.ts'

const TAKEN = 100

export const reaper: Reconciler = {
  name: 'reaper',
  everyMs: limits.deadlineToleranceMs,
  async run(context) {
    const now = context.clock()
    const horizon = new Date(now.getTime() + limits.deadlineToleranceMs)
    const expiring = await expiringSandboxes(context.store, horizon, TAKEN)
    const due = expiring.filter(({ endAt }) => endAt !== null && endAt <= now)
    await Promise.all(
      due.map(({ sandboxID }) =>
        moveSandbox(context, 'expire', {
          sandboxID,
          endsBy: now, // it may have been extended since it was read
          reason: 'timeout',
          order: { operationID: newID('operation'), args: {} },
        }),
      ),
    )
    if (due.length === TAKEN) return 0
    const next = expiring.find(({ endAt }) => endAt !== null && endAt > now)?.endAt
    return next ? next.getTime() - context.clock().getTime() : undefined
  },
}
