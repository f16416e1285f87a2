// What happens to running sandboxes when their host goes down on purpose, and how they come back.
import { newID, type State } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'
import type { Moving } from '../store/moves.ts'
import { sandboxesInStates } from '../store/sandboxes.ts'
import { moveSandbox } from './move.ts'
import type { Sandbox } from './sandbox.ts'
import { waitUntilSettled } from './wait.ts'

export interface Suspension {
  /** `pause`: write them out, to be resumed at the next start. `kill`: end them. */
  readonly mode: 'pause' | 'kill'
  readonly deadlineMs: number
  readonly onProgress?: (progress: { readonly done: number; readonly total: number }) => void
}

const MOVING: readonly State[] = ['creating', 'pausing', 'resuming']
const LOOK_MS = 100

/**
 * Suspends every running sandbox of every team. Nothing new may be created meanwhile. Resolves with the number of those
 * that still run, at the deadline at the latest.
 */
export async function suspendAll(context: Context, suspension: Suspension): Promise<{ failed: number }> {
  const until = performance.now() + suspension.deadlineMs
  if (suspension.mode === 'pause') await waitUntilNothingMoves(context, until)
  const inside: readonly State[] = suspension.mode === 'kill' ? ['running', ...MOVING] : ['running']
  const running = await sandboxesInStates(context.store, inside)
  let done = 0
  let failed = 0
  const progress = () => suspension.onProgress?.({ done, total: running.length })
  progress()
  await Promise.all(
    running.map(async (sandbox) => {
      const moving = await (suspension.mode === 'pause' ? beginPause(context, sandbox) : beginKill(context, sandbox))
      if (moving !== undefined) {
        const timeoutMs = Math.max(0, until - performance.now())
        const settled = await waitUntilSettled(context, moving, { timeoutMs, delivery: 'not needed' })
        if (typeof settled !== 'object' || settled.state === 'running') failed++
      }
      done++
      progress()
    }),
  )
  return { failed }
}

/** A create, pause or resume under way ends first: its sandbox is then running, or needs nothing. */
async function waitUntilNothingMoves(context: Context, until: number): Promise<void> {
  while ((await sandboxesInStates(context.store, MOVING)).length > 0 && performance.now() < until)
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
}

function beginPause(context: Context, { sandboxID, endAt }: Sandbox): Promise<Moving | undefined> {
  // One that is about to expire gets a second, to be found expired after its resume rather than before.
  const remaining = endAt === null ? null : Math.max(1000, endAt.getTime() - context.clock().getTime())
  return moveSandbox(context, 'pause', {
    sandboxID,
    set: { resume_at_start: true, remaining_ms: remaining },
    order: { operationID: newID('operation'), args: { snapshotID: newID('snapshot') } },
  })
}

function beginKill(context: Context, { sandboxID }: Sandbox): Promise<Moving | undefined> {
  return moveSandbox(context, 'kill', {
    sandboxID,
    reason: 'api',
    order: { operationID: newID('operation'), args: {} },
  })
}
