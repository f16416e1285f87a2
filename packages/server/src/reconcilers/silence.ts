// Gives up sandboxes whose worker has been silent for too long. Paused ones stay: they wait for it. A server that has just
// started hears first: what it was not there to hear is no silence.
import { limits, moves } from '@lelantos-ai/contract'
import { moveSandbox } from '../sandboxes/move.ts'
import { sandboxesOfSilentWorkers } from '../store/workers.ts'
import type { Reconciler } from './loop.ts'

/** `listeningSince`: when this server began to hear statements. */
export function silenceOf(listeningSince: Date): Reconciler {
  return {
    name: 'silence',
    everyMs: 5000,
    async run(context) {
      const before = new Date(context.clock().getTime() - limits.workerLostMs)
      if (listeningSince > before) return
      for (const sandboxID of await sandboxesOfSilentWorkers(context.store, before)) {
        const message = `its worker has been silent for ${limits.workerLostMs / 1000} s`
        await moveSandbox(context, 'fail', {
          sandboxID,
          from: moves.fail.from,
          reason: 'worker_lost',
          why: message,
          set: { failure: JSON.stringify({ code: 'worker_lost', message }) },
        })
      }
    },
  }
}
