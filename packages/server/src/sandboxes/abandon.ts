// A create during which the store went away: its row may be there, or PostgreSQL may write it yet when it goes on. Its
// caller was told that it failed and does not know its id, so whatever comes of it is ended.
import { setTimeout as delay } from 'node:timers/promises'
import { newID } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'
import { isStoreAway } from '../store/away.ts'
import { moveSandbox } from './move.ts'

const RETRY_MS = 500
/** A cut session that PostgreSQL still works on commits at the latest this long after it answers others again. */
const LATE_MS = 5000
/** A store that is away for longer has been started anew, and knows nothing of it. */
const GIVE_UP_MS = 600_000

/** Ends the sandbox if it is there, as soon as the store answers. Never rejects. */
export async function abandonCreate(context: Context, sandboxID: string): Promise<void> {
  const until = performance.now() + GIVE_UP_MS
  for (let answeredAt = Infinity; performance.now() < Math.min(until, answeredAt + LATE_MS);) {
    try {
      const killing = await moveSandbox(context, 'kill', {
        sandboxID,
        reason: 'error',
        order: { operationID: newID('operation'), args: {} },
        set: { failure: JSON.stringify({ code: 'unavailable', message: 'the store went away while it was created' }) },
      })
      if (killing !== undefined) return
      answeredAt = Math.min(answeredAt, performance.now())
    } catch (err) {
      if (!isStoreAway(err)) return context.log.error({ err, sandboxID }, 'an unanswered create could not be ended')
    }
    await delay(RETRY_MS, undefined, { ref: false })
  }
}
