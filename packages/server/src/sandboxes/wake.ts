// Brings back, at the start, what the last shutdown paused: with the time that was left of each, once its worker is there.
import type { Context } from '../context.ts'
import { readSandbox, sandboxesToWake } from '../store/sandboxes.ts'
import { beginResume, finishResume } from './resume.ts'
import type { Sandbox } from './sandbox.ts'

export interface WakeOptions {
  /** How long a worker, or a pause that the shutdown left half done, is waited for. */
  readonly deadlineMs?: number
  readonly onProgress?: (progress: { readonly done: number; readonly total: number }) => void
}

const WAIT_MS = 60_000
const LOOK_MS = 50

/** Resolves when each has been resumed or has failed to; what failed stays paused. */
export async function wakeAll(
  context: Context,
  options: WakeOptions = {},
): Promise<{ resumed: number; failed: number }> {
  const until = performance.now() + (options.deadlineMs ?? WAIT_MS)
  const asleep = await sandboxesToWake(context.store)
  let resumed = 0
  let failed = 0
  await Promise.all(
    asleep.map(async (sandbox) => {
      try {
        if (await wake(context, sandbox, until)) resumed++
      } catch (err) {
        context.log.warn({ err, sandboxID: sandbox.sandboxID }, 'a sandbox paused by the shutdown could not be resumed')
        failed++
      }
      options.onProgress?.({ done: resumed + failed, total: asleep.length })
    }),
  )
  return { resumed, failed }
}

/** False when somebody else has resumed or ended it meanwhile. */
async function wake(context: Context, asleep: Sandbox, until: number): Promise<boolean> {
  for (let sandbox: Sandbox | undefined = asleep; sandbox !== undefined;) {
    if (!sandbox.resumeAtStart) return false
    const { sandboxID, workerID, remainingMs, timeoutSeconds } = sandbox
    const now = context.clock()
    if (sandbox.state === 'paused' && workerID !== null && context.workers.get(workerID, now) !== undefined) {
      const endAt = remainingMs === null ? null : new Date(now.getTime() + remainingMs)
      const resuming = await beginResume(context, sandbox, { timeoutSeconds, endAt })
      if (resuming !== undefined) {
        await finishResume(context, resuming)
        return true
      }
    }
    if (performance.now() > until) throw new Error(`sandbox ${sandboxID} is ${sandbox.state}, worker ${workerID} away`)
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    sandbox = await readSandbox(context.store, sandboxID)
  }
  return false
}
