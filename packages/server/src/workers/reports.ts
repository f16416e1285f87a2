// What workers say of their own accord. Even a worker's message is input: it is checked before anything else, and it may
// be late, doubled, or about a sandbox that another worker has.
import { moves, type Report, Report as ReportSchema, type ReportReply } from '@lelantos-ai/contract'
import { Compile } from 'typebox/compile'
import type { Context } from '../context.ts'
import { moveSandbox } from '../sandboxes/move.ts'
import { settle } from '../sandboxes/settle.ts'
import { findUnsettledOrder } from '../store/orders.ts'
import { readSandbox } from '../store/sandboxes.ts'

const schema = Compile(ReportSchema)

/** Takes a report. `taken: false` asks the worker to come again. */
export async function takeReport(context: Context, message: unknown): Promise<ReportReply> {
  if (!schema.Check(message)) {
    context.log.warn({ errors: [...schema.Errors(message)].slice(0, 3) }, 'a worker sent a report that is none')
    return { taken: false }
  }
  const report: Report = message
  return { taken: await (report.event.kind === 'settled' ? settled(context, report) : ended(context, report)) }
}

async function settled(context: Context, report: Report): Promise<boolean> {
  if (report.event.kind !== 'settled') return false
  const { workerID, sandboxID } = report
  const { operationID, outcome } = report.event
  const order = await findUnsettledOrder(context.store, { operationID, sandboxID, workerID })
  // Without one it has been settled before, or overtaken: nobody waits for this.
  if (order !== undefined) await settle(context, order, outcome)
  return true
}

async function ended(context: Context, report: Report): Promise<boolean> {
  if (report.event.kind !== 'ended') return false
  const { sandboxID, workerID, generation } = report
  const { reason, message } = report.event
  const guards = { sandboxID, workerID, machineGenerationMax: generation }
  if (reason === 'timeout') {
    if (await moveSandbox(context, 'expiredAtWorker', { ...guards, reason })) return true
    // A machine that has expired before its start was settled: that comes first.
    const sandbox = await readSandbox(context.store, sandboxID)
    return sandbox?.state !== 'creating' && sandbox?.state !== 'resuming'
  }
  await moveSandbox(context, 'fail', {
    ...guards,
    from: moves.fail.from,
    reason,
    why: message,
    set: { failure: JSON.stringify({ code: 'ended', message }) },
  })
  return true
}
