// The door: what an order means to a sandbox as it stands. A pure function, so that every case can be listed.
//
//   unknown sandbox       create, kill: act (a kill leaves the generation, so that a late create is stale)
//                         anything else: refused, unknown_sandbox
//   lower generation      refused, stale
//   the same generation   another operation: stale; settled: its outcome again; under way: working; else
//                         it was interrupted by a restart of the worker: act
//   a higher generation   act, aborting what is under way; after the end only create, kill and release are left
import type { Order, Outcome } from '@lelantos-ai/contract'
import { failed } from './failure.ts'
import type { RosterEntry } from './roster.ts'

export type Verdict =
  | { readonly kind: 'act' }
  | { readonly kind: 'working' }
  | { readonly kind: 'replay'; readonly outcome: Outcome }
  | { readonly kind: 'refuse'; readonly outcome: Outcome }

/** The sandbox as its newest order left it: one that is accepted counts before the roster has it. */
export interface Standing {
  readonly generation: number
  readonly operationID: string
  readonly outcome?: Outcome
  readonly underWay: boolean
  readonly phase: RosterEntry['phase']
}

export function judge(order: Order, standing: Standing | undefined): Verdict {
  if (standing === undefined) {
    if (order.verb === 'create' || order.verb === 'kill') return { kind: 'act' }
    return refuse('unknown_sandbox', `this worker has no sandbox ${order.sandboxID}`)
  }
  const { generation, operationID } = standing
  if (order.generation < generation)
    return refuse('stale', `generation ${order.generation} is over: the sandbox is at ${generation}`)
  if (order.generation === generation) {
    if (order.operationID !== operationID)
      return refuse('stale', `generation ${generation} belongs to operation ${operationID}`)
    if (standing.outcome !== undefined) return { kind: 'replay', outcome: standing.outcome }
    return standing.underWay ? { kind: 'working' } : { kind: 'act' }
  }
  if (standing.phase === 'ended' && !standing.underWay) {
    if (order.verb === 'create' || order.verb === 'kill' || order.verb === 'release') return { kind: 'act' }
    return refuse('ended', `the sandbox has ended: there is nothing to ${order.verb}`)
  }
  if (order.verb === 'create' && (standing.phase === 'running' || standing.phase === 'paused'))
    return refuse('stale', `the sandbox has been created already and is ${standing.phase}`)
  return { kind: 'act' }
}

function refuse(...words: Parameters<typeof failed>): Verdict {
  return { kind: 'refuse', outcome: failed(...words) }
}
