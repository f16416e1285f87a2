// A paused sandbox from its own snapshot, exactly as it was. Whatever fails, the snapshot stays as it is.
import { envdAccessToken, newMachineID, type Order, type Outcome } from '@lelantos-ai/contract'
import { OperationFailed } from '../failure.ts'
import { type Sandbox, underOrder } from '../sandbox.ts'
import { handOver } from './create.ts'
import { restoreMachine } from './restore.ts'

type ResumeOrder = Extract<Order, { verb: 'resume' }>

export async function resume(sandbox: Sandbox, order: ResumeOrder, signal: AbortSignal): Promise<Outcome> {
  const { node, sandboxID } = sandbox
  const { snapshotID } = order.args
  if (sandbox.held !== undefined) throw new OperationFailed('engine', 'the sandbox is running')
  const { origin } = sandbox.entry ?? {}
  // Only the roster says which snapshot is whose: an order that names another one gets none.
  if (origin === undefined || sandbox.entry?.snapshotID !== snapshotID)
    throw new OperationFailed('snapshot_missing', `${snapshotID} is not the snapshot of this sandbox`)
  const machine = { machineID: newMachineID(node.installation), from: snapshotID }
  const entry = { ...underOrder(sandbox, order), endAt: order.args.endAt, machine }
  const accessToken = envdAccessToken(node.installationKey, sandboxID)
  const held = await restoreMachine(
    node,
    {
      machineID: machine.machineID,
      snapshotID,
      shape: origin.shape,
      // No environment: the guest's memory holds it.
      init: { sandboxID, templateID: origin.templateID, accessToken, hostname: sandboxID },
      recorded: sandbox.record(entry),
    },
    signal,
  )
  return handOver(sandbox, held, entry)
}
