// Settles transitions that have lasted longer than they may, by the move that the lifecycle table gives.
import { newID, overdueMove } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'
import { moveSandbox } from '../sandboxes/move.ts'
import type { Sandbox } from '../sandboxes/sandbox.ts'
import { overdueSandboxes } from '../store/sandboxes.ts'
import type { Reconciler } from './loop.ts'

const TAKEN = 100

export const overdue: Reconciler = {
  name: 'overdue',
  everyMs: 1000,
  async run(context) {
    const now = context.clock()
    const found = await overdueSandboxes(context.store, now, TAKEN)
    for (const sandbox of found) await settleOverdue(context, sandbox, now)
    return found.length === TAKEN ? 0 : undefined
  },
}

async function settleOverdue(context: Context, { sandboxID, state }: Sandbox, now: Date): Promise<void> {
  if (state !== 'creating' && state !== 'pausing' && state !== 'resuming') return
  const message = `${state} took longer than it may`
  const request = {
    sandboxID,
    overdueAt: now,
    order: { operationID: newID('operation'), args: {} },
    set: { failure: JSON.stringify({ code: 'overdue', message }) },
  }
  context.log.warn({ sandboxID, state, move: overdueMove[state] }, 'a transition is overdue')
  if (overdueMove[state] === 'resumeUndone') {
    await moveSandbox(context, 'resumeUndone', { ...request, why: message })
  } else {
    await moveSandbox(context, 'kill', { ...request, from: [state], reason: 'error' })
  }
}
