// A sandbox on this worker, as the one task that moves it sees it.
import { setTimeout as pause } from 'node:timers/promises'
import type { Log, Order } from '@lelantos-ai/contract'
import type { Running, Stopped } from './engines/engine.ts'
import type { WorkerNode } from './node.ts'
import type { HeldPlace } from './place.ts'
import type { RosterEntry } from './roster.ts'
import type { SealedSnapshot } from './snapshots/snapshots.ts'

/** A machine that has been handed over, and all it stands on. */
export interface Held {
  machine: Running | Stopped
  readonly place: HeldPlace
  /** What it was restored from: its secret opens the guest's control routes, its files are inherited by the next snapshot. */
  readonly from: SealedSnapshot
  /** It is being put away: that it exits is no news. */
  ending?: true
}

export interface Sandbox {
  readonly sandboxID: string
  readonly node: WorkerNode
  readonly log: Log
  /** As last recorded; undefined for one that this worker has not heard of. */
  readonly entry: RosterEntry | undefined
  /** What runs, or is stopped for a moment. When it ends by itself, the task under way is aborted with `MachineGone`. */
  readonly held: Held | undefined
  /** Durable when it resolves. */
  record(entry: RosterEntry): Promise<void>
  hold(held: Held): void
  /** The machine has been put away: its end means nothing any more. */
  letGo(): void
}

const RETRY_MS = { first: 100, longest: 2000 }

/** What must happen in the end is tried until it does, or until the signal aborts. */
export async function insist<T>(
  sandbox: Pick<Sandbox, 'log'>,
  signal: AbortSignal,
  what: string,
  work: () => Promise<T>,
): Promise<T> {
  for (let wait = RETRY_MS.first; ; wait = Math.min(wait * 2, RETRY_MS.longest)) {
    try {
      return await work()
    } catch (err) {
      if (signal.aborted) throw err
      sandbox.log.error({ err, retryInMs: wait }, `${what} did not succeed: it is tried again`)
      await pause(wait, undefined, { signal }).catch(() => {})
    }
  }
}

/** What an order makes of the entry while it is under way. */
export function underOrder(sandbox: Sandbox, order: Order): RosterEntry {
  const { endAt = null, ...previous } = sandbox.entry ?? {}
  return {
    ...previous,
    sandboxID: sandbox.sandboxID,
    generation: order.generation,
    operation: {
      operationID: order.operationID,
      verb: order.verb,
      ...(order.verb === 'pause' ? { snapshotID: order.args.snapshotID } : {}),
    },
    phase: 'moving',
    endAt,
    bootID: sandbox.node.bootID,
  }
}

/** The entry without its machine. */
export function withoutMachine(entry: RosterEntry): RosterEntry {
  const { machine: _, ...rest } = entry
  return rest
}
