// Keeps something running: starts it, and starts it again when it ends by itself, waiting longer each time it dies young.
import { setTimeout as pause } from 'node:timers/promises'
import type { Log } from '@lelantos-ai/contract'

/** Something that runs until it is stopped or dies. */
export interface Part {
  /** Settles when it has ended, with words that say how. Never rejects. */
  readonly exited: Promise<string>
  stop(): Promise<void>
}

export interface Kept<P extends Part> {
  /** The one that runs now; waits while it is being started again. */
  current(): Promise<P>
  stop(): Promise<void>
}

const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 5000
/** What has run for this long was well: the next start is at once again. */
const WELL_AFTER_MS = 30_000

/** Resolves once it has started for the first time; a first start that fails rejects, since then something is wrong that time does not mend. */
export async function keep<P extends Part>(name: string, start: () => Promise<P>, log: Log): Promise<Kept<P>> {
  let stopping = false
  let running: Promise<P> = start()
  await running

  const watch = async () => {
    let wait = FIRST_PAUSE_MS
    for (;;) {
      const began = performance.now()
      const how = await (await running).exited
      if (stopping) return
      if (performance.now() - began > WELL_AFTER_MS) wait = FIRST_PAUSE_MS
      log.error({ part: name, inMs: wait }, `${name} ended (${how}): it is started again`)
      running = again(wait)
      wait = Math.min(wait * 2, LONGEST_PAUSE_MS)
      if ((await running.catch(() => undefined)) === undefined) return
    }
  }
  const again = async (wait: number): Promise<P> => {
    for (let next = wait; ; next = Math.min(next * 2, LONGEST_PAUSE_MS)) {
      await pause(next)
      if (stopping) throw new Error(`${name} is being stopped`)
      try {
        const part = await start()
        log.info({ part: name }, `${name} is back`)
        return part
      } catch (err) {
        log.error({ part: name, err }, `${name} could not be started`)
      }
    }
  }
  const watching = watch()
  return {
    current: () => running,
    stop: async () => {
      stopping = true
      const part = await running.catch(() => undefined)
      await part?.stop()
      await watching
    },
  }
}
