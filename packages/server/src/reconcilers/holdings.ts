// Compares what each connected worker says it holds with what the store thinks it does: a running sandbox that its worker
// does not have is over, and what a worker holds of a sandbox that has ended is to go.
import { newID, type Statement } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'
import { moveSandbox } from '../sandboxes/move.ts'
import { orderRemoval } from '../store/orders.ts'
import { endedSandboxes, missingSandboxes } from '../store/workers.ts'
import type { Reconciler } from './loop.ts'

/**
 * A sandbox that moved this shortly before the statement is left alone: the roster may have been read just before, the
 * clocks may differ, and a report with the true reason may be on its way.
 */
const GRACE_MS = 5000

export const holdings: Reconciler = {
  name: 'holdings',
  everyMs: 1000,
  async run(context) {
    for (const { statement } of context.workers.list(context.clock())) await compare(context, statement)
  },
}

async function compare(context: Context, statement: Statement): Promise<void> {
  const { workerID, bootID } = statement
  const movedBefore = new Date(Date.parse(statement.at) - GRACE_MS)
  if (Number.isNaN(movedBefore.getTime())) return
  const held = statement.holdings.map(({ sandboxID }) => sandboxID)
  for (const missing of await missingSandboxes(context.store, { workerID, held, movedBefore })) {
    const { sandboxID, generation } = missing
    const reason = missing.bootID === bootID ? 'vmm_died' : 'host_restart'
    const message = reason === 'vmm_died' ? 'its machine is gone' : 'its host has restarted'
    await moveSandbox(context, 'fail', {
      sandboxID,
      generation,
      workerID,
      from: ['running'],
      reason,
      why: message,
      set: { failure: JSON.stringify({ code: 'ended', message }) },
    })
  }
  const present = statement.holdings.filter(({ phase }) => phase !== 'ended')
  const ended = new Set(
    await endedSandboxes(
      context.store,
      present.map(({ sandboxID }) => sandboxID),
      movedBefore,
    ),
  )
  for (const { sandboxID, generation } of present) {
    if (!ended.has(sandboxID)) continue
    context.log.warn({ sandboxID, workerID }, 'a worker holds a sandbox that has ended: it is ordered to remove it')
    const operationID = newID('operation')
    const order = await orderRemoval(context.store, {
      sandboxID,
      workerID,
      generation,
      operationID,
      now: context.clock(),
    })
    if (order !== undefined) context.dispatch.written(order)
  }
}
