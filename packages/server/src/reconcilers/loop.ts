// What a reconciler is: a function without input that looks at the present state and brings it nearer to what it should
// be. It runs on a timer, is idempotent, and does not retry: its next turn does.
import type { Context } from '../context.ts'
import { isStoreAway } from '../store/away.ts'

export interface Reconciler {
  readonly name: string
  /** The longest it sleeps. */
  readonly everyMs: number
  /** Gives the milliseconds until it wants its next turn, if that is sooner than `everyMs`. */
  run(context: Context): Promise<number | void>
}

/** Runs a reconciler, one turn at a time, until disposed; that waits for a turn under way. */
export function startLoop(context: Context, reconciler: Reconciler): AsyncDisposable {
  let stopped = false
  let wake = () => {}
  const ended = (async () => {
    while (!stopped) {
      let sleepMs = reconciler.everyMs
      try {
        sleepMs = Math.min(sleepMs, (await reconciler.run(context)) ?? sleepMs)
      } catch (err) {
        const level = isStoreAway(err) ? 'warn' : 'error'
        context.log[level]({ err, reconciler: reconciler.name }, 'a reconciler failed at its turn')
      }
      if (stopped) return
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.max(0, sleepMs))
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  })()
  return {
    [Symbol.asyncDispose]: async () => {
      stopped = true
      wake()
      await ended
    },
  }
}
