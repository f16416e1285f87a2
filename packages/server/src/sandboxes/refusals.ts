// What a caller is told when its move is not legal from the sandbox's present state. Derived from the state alone, so that
// who loses a race hears the same as who came late.
import { Refused, type State } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'
import { findSandbox } from '../store/sandboxes.ts'
import type { Caller } from './sandbox.ts'

export type CallerMove = 'pause' | 'resume' | 'timeout'

export function notFound(sandboxID: string): Refused {
  return new Refused('sandbox_not_found', `sandbox ${sandboxID} was not found`)
}

/** Why this move is refused now, or `undefined` when it is legal from that state: who asked was overtaken and may try again. */
function refusalOf(wanted: CallerMove, sandboxID: string, state: State): Refused | undefined {
  switch (state) {
    case 'killing':
    case 'stopping':
    case 'killed':
    case 'stopped':
      return notFound(sandboxID)
    case 'creating':
      if (wanted === 'pause') return new Refused('sandbox_not_running', `sandbox ${sandboxID} is being created`)
      if (wanted === 'resume') return new Refused('not_paused', `sandbox ${sandboxID} is being created`)
      return moving(sandboxID, 'being created')
    case 'pausing':
      return moving(sandboxID, 'being paused')
    case 'resuming':
      return moving(sandboxID, 'being resumed')
    case 'paused':
      return wanted === 'pause' ? new Refused('already_paused', `sandbox ${sandboxID} is already paused`) : undefined
    case 'running':
      return wanted === 'resume' ? new Refused('not_paused', `sandbox ${sandboxID} is running`) : undefined
  }
}

function moving(sandboxID: string, what: string): Refused {
  return new Refused('sandbox_moving', `sandbox ${sandboxID} is ${what}: try again when that is done`, 1)
}

/** How often a verb looks again after being overtaken by a move that leaves its own legal. */
const ATTEMPTS = 5

/** Tries a caller's move until it is made or refused by the state that the sandbox is in. */
export async function tryMove<T>(
  context: Context,
  caller: Caller,
  wanted: { readonly move: CallerMove; readonly sandboxID: string },
  attempt: (sandbox: NonNullable<Awaited<ReturnType<typeof findSandbox>>>) => Promise<T | undefined>,
): Promise<T> {
  const { sandboxID, move } = wanted
  for (let n = 0; n < ATTEMPTS; n++) {
    const sandbox = await findSandbox(context.store, caller.teamID, sandboxID)
    if (sandbox === undefined) throw notFound(sandboxID)
    const refusal = refusalOf(move, sandboxID, sandbox.state)
    if (refusal !== undefined) throw refusal
    const made = await attempt(sandbox)
    if (made !== undefined) return made
  }
  throw moving(sandboxID, 'changing too often')
}
