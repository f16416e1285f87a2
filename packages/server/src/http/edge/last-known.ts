// Where sandboxes were when the store was last heard: while it is away, traffic goes on. No sandbox moves then but by its
// own end, and no other one takes its address, since placing one takes the store.
import type { Location } from './location.ts'

const ENTRIES_MAX = 20_000
/** A store that is away for longer than this, in ms, is taken for lost, and what it said with it. */
const BELIEVED_MS = 300_000

/** Asks, and answers from memory what cannot be asked. Rejects when there is nothing to remember. */
export function rememberingLocations(
  ask: (sandboxID: string) => Promise<Location>,
  now: () => number = () => performance.now(),
): (sandboxID: string) => Promise<Location> {
  const known = new Map<string, { readonly location: Location; readonly at: number }>()
  return async (sandboxID) => {
    try {
      const location = await ask(sandboxID)
      if (location.at === 'running') {
        if (known.size >= ENTRIES_MAX) known.clear()
        known.set(sandboxID, { location, at: now() })
      } else known.delete(sandboxID)
      return location
    } catch (error) {
      const last = known.get(sandboxID)
      if (last === undefined || now() - last.at > BELIEVED_MS) throw error
      return last.location
    }
  }
}
