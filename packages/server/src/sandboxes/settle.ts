// What an order's outcome does to its sandbox. The outcome may come as a reply, as a report, twice, or long after the
// sandbox has moved on: each move is guarded by the order's generation, so only the first one in time has an effect.
import { type EndReason, type FailureCode, limits, newID, type OrderArgs, type Outcome } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'
import type { StoredOrder } from '../store/orders.ts'
import { settleOrder } from '../store/orders.ts'
import { readSandbox } from '../store/sandboxes.ts'
import { forgetSnapshots, recordSnapshot } from '../store/snapshots.ts'
import { placeElsewhere } from '../workers/place.ts'
import { moveSandbox } from './move.ts'

type Done = Extract<Outcome, { status: 'done' }>
type Failed = Extract<Outcome, { status: 'failed' }>

/** `repeat`: the outcome settles nothing, the order is to be sent again. */
export type Settled = 'settled' | 'repeat'

/** Applies the outcome of an order. Idempotent. */
export async function settle(context: Context, order: StoredOrder, outcome: Outcome): Promise<Settled> {
  const settled = await (outcome.status === 'done' ? done(context, order, outcome) : failed(context, order, outcome))
  if (settled === 'repeat') return 'repeat'
  // The move has settled the order with it; one that had no effect left that to do.
  if (settled === 'unmoved') await settleOrder(context.store, order.operationID, context.clock())
  context.dispatch.delivered(order.operationID)
  return 'settled'
}

type Effect = 'moved' | 'unmoved' | 'repeat'
const effectOf = (moving: object | undefined): Effect => (moving === undefined ? 'unmoved' : 'moved')

async function done(context: Context, order: StoredOrder, outcome: Done): Promise<Effect> {
  const { sandboxID, generation } = order
  const guards = { sandboxID, generation }
  const machine = { address: outcome.address ?? null, machine_id: outcome.machineID ?? null }
  switch (order.verb) {
    case 'create':
      if (machine.address === null) return failed(context, order, withoutAddress)
      return effectOf(
        await moveSandbox(context, 'started', { ...guards, set: { ...machine, started_at: context.clock() } }),
      )
    case 'resume':
      if (machine.address === null) return failed(context, order, withoutAddress)
      return effectOf(await moveSandbox(context, 'resumed', { ...guards, set: machine }))
    case 'pause': {
      const { snapshotID } = order.args as OrderArgs<'pause'>
      const snapshot = { snapshotID, workerID: order.workerID, bytes: outcome.snapshotBytes ?? 0 }
      return effectOf(
        await moveSandbox(
          context,
          'paused',
          { ...guards, set: { snapshot_id: snapshotID } },
          async (store, { sandbox }) => recordSnapshot(store, sandbox, snapshot, context.clock()),
        ),
      )
    }
    case 'kill':
      return ended(context, order)
    case 'release':
    case 'deadline':
      return 'unmoved'
  }
}

const withoutAddress: Failed = { status: 'failed', code: 'engine', message: 'the worker gave no address' }

async function failed(context: Context, order: StoredOrder, { code, message }: Failed): Promise<Effect> {
  const guards = { sandboxID: order.sandboxID, generation: order.generation }
  const failure = JSON.stringify({ code, message })
  switch (order.verb) {
    case 'create':
      return createFailed(context, order, { code, message })
    case 'resume':
      return effectOf(await moveSandbox(context, 'resumeFailed', { ...guards, why: message, set: { failure } }))
    case 'pause':
      return pauseFailed(context, order, { code, message })
    case 'kill':
      return isGone(code) ? ended(context, order) : 'repeat'
    case 'release':
      return isGone(code) ? 'unmoved' : 'repeat'
    case 'deadline':
      return 'unmoved' // a worker without it holds no machine of it, and says so in its statement
  }
}

/** Whether a worker that says this has nothing of the sandbox to end. */
function isGone(code: FailureCode): boolean {
  return code === 'unknown_sandbox' || code === 'ended' || code === 'stale'
}

const ELSEWHERE: readonly FailureCode[] = ['full', 'disk_full', 'unknown_build']

async function createFailed(
  context: Context,
  order: StoredOrder,
  failure: { readonly code: FailureCode; readonly message: string },
): Promise<Effect> {
  const { sandboxID, generation } = order
  if (ELSEWHERE.includes(failure.code)) {
    const sandbox = await readSandbox(context.store, sandboxID)
    const except = sandbox?.placements ?? []
    if (sandbox !== undefined && except.length < limits.placementAttempts) {
      const worker = placeElsewhere(context.workers, sandbox, { now: context.clock(), except })
      if (worker !== undefined) {
        const { workerID, bootID } = worker
        const moving = await moveSandbox(context, 'placeElsewhere', {
          sandboxID,
          generation,
          set: { worker_id: workerID, boot_id: bootID, placements: [...except, workerID] },
          order: { operationID: newID('operation'), args: order.args as OrderArgs<'create'> },
        })
        return effectOf(moving)
      }
    }
  }
  const moving = await moveSandbox(context, 'fail', {
    sandboxID,
    generation,
    from: ['creating'],
    reason: 'error',
    why: failure.message,
    set: { failure: JSON.stringify(failure) },
  })
  return effectOf(moving)
}

async function pauseFailed(
  context: Context,
  order: StoredOrder,
  failure: { readonly code: FailureCode; readonly message: string },
): Promise<Effect> {
  const { sandboxID, generation } = order
  const set = { failure: JSON.stringify(failure) }
  const why = failure.message
  if (failure.code === 'ended' || failure.code === 'unknown_sandbox') {
    const reason: EndReason = 'vmm_died'
    return effectOf(await moveSandbox(context, 'fail', { sandboxID, generation, from: ['pausing'], reason, why, set }))
  }
  const running = await moveSandbox(context, 'pauseFailed', { sandboxID, generation, why, set })
  if (running === undefined) return 'unmoved'
  // The pause may have overtaken a new deadline on its way to the worker: it is told again.
  const { endAt } = running.sandbox
  await moveSandbox(context, 'setDeadline', {
    sandboxID,
    generation,
    order: { operationID: newID('operation'), args: { endAt: endAt?.toISOString() ?? null } },
  })
  return 'moved'
}

/** The worker has nothing of it any more: what was killing is killed, what was stopping is stopped. */
async function ended(context: Context, { sandboxID, generation }: StoredOrder): Promise<Effect> {
  const forget = (store: Parameters<typeof forgetSnapshots>[0]) => forgetSnapshots(store, sandboxID)
  const moving =
    (await moveSandbox(context, 'killed', { sandboxID, generation }, forget)) ??
    (await moveSandbox(context, 'stopped', { sandboxID, generation }, forget))
  return effectOf(moving)
}
