// Waiting for a transition to be settled. What is waited for is the state of the row, never a message: a move by this
// process is told at once, one by another server is seen at the next look.
import { limits, type State } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'
import type { Moving } from '../store/moves.ts'
import { readSandbox } from '../store/sandboxes.ts'
import type { Sandbox } from './sandbox.ts'

const LOOK_MS = 250
/** A bus that is away this long is said to be: with what else it takes, within the 2 s promised. */
const UNDELIVERED_MS = limits.busRequestMs * 0.6

/** `undelivered`: no worker has taken the order for as long as the bus may take. `timeout`: it has not settled in time. */
export type Waited = Sandbox | 'undelivered' | 'timeout'

export async function waitUntilSettled(
  context: Context,
  { sandbox, order }: Moving,
  options: { readonly timeoutMs: number; readonly delivery: 'needed' | 'not needed' },
): Promise<Waited> {
  const settled = leaves(sandbox.state, sandbox.generation)
  const started = performance.now()
  const waited = () => performance.now() - started
  let latest: Sandbox | undefined
  let wake = () => {}
  using _watch = context.moved.watchSandbox(sandbox.sandboxID, (moved) => {
    if (latest !== undefined || !settled(moved)) return
    latest = moved
    wake()
  })
  for (;;) {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.max(0, Math.min(LOOK_MS, options.timeoutMs - waited())))
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
      if (latest !== undefined) wake()
    })
    if (latest !== undefined) return latest
    const row = await readSandbox(context.store, sandbox.sandboxID)
    if (latest !== undefined) return latest
    if (row === undefined) throw new Error(`the row of sandbox ${sandbox.sandboxID} is gone`)
    if (settled(row)) return row
    const stuck = order !== undefined && context.dispatch.isUndeliverable(order.operationID)
    if (stuck && options.delivery === 'needed' && waited() >= UNDELIVERED_MS) return 'undelivered'
    if (waited() >= options.timeoutMs) return 'timeout'
  }
}

/** Whether a row has left the transition that began at this generation. A create keeps its state while it is placed elsewhere. */
function leaves(transition: State, generation: number): (row: Sandbox) => boolean {
  return (row) => row.state !== transition || (transition !== 'creating' && row.generation > generation)
}
