// The ways in which a machine, or a sandbox, comes to its end.
import type { EndReason, Order, Outcome } from '@lelantos-ai/contract'
import type { Exit } from '../engines/engine.ts'
import { type Held, type Sandbox, underOrder, withoutMachine } from '../sandbox.ts'
import type { RosterEntry } from '../roster.ts'
import { together } from '../until.ts'
import { killMachine } from './restore.ts'

/** Ends the machine and gives back all it had. Throws when something remains; repeating it goes on with that. */
export async function putAway(sandbox: Sandbox): Promise<void> {
  if (sandbox.held === undefined) return
  await putAwayMachine(sandbox.held)
  sandbox.letGo()
}

export async function putAwayMachine(held: Held): Promise<void> {
  held.ending = true
  await killMachine(held.machine)
  await held.place[Symbol.asyncDispose]()
}

/** Ends the machine, deletes the snapshots, and leaves the generation, so that what comes late is stale. */
export async function kill(sandbox: Sandbox, order: Extract<Order, { verb: 'kill' }>): Promise<Outcome> {
  const outcome: Outcome = { status: 'done' }
  const entry = underOrder(sandbox, order)
  const snapshots = snapshotsOf(sandbox.entry)
  // The record first or at the same time: a worker that dies now finds a kill to finish, not a sandbox to adopt.
  await together([sandbox.record(entry), putAway(sandbox)])
  await conclude(sandbox, {
    entry: { ...entry, operation: { ...entry.operation, outcome } },
    snapshots,
    ended: { reason: 'api', message: 'killed', reported: true },
  })
  return outcome
}

/** Ends the machine and keeps the snapshot: the sandbox is paused as it was. Without a snapshot nothing is left of it. */
export async function release(sandbox: Sandbox, order: Extract<Order, { verb: 'release' }>): Promise<Outcome> {
  const outcome: Outcome = { status: 'done' }
  const entry = underOrder(sandbox, order)
  await together([sandbox.record(entry), putAway(sandbox)])
  const settled = { ...withoutMachine(entry), operation: { ...entry.operation, outcome } }
  if (settled.snapshotID !== undefined) {
    await sandbox.record({ ...settled, phase: 'paused' })
    return outcome
  }
  const ended = { reason: 'error', message: 'released without a snapshot', reported: true } as const
  await conclude(sandbox, { entry: settled, snapshots: [], ended })
  return outcome
}

/** A new deadline. */
export async function deadline(sandbox: Sandbox, order: Extract<Order, { verb: 'deadline' }>): Promise<Outcome> {
  const outcome: Outcome = { status: 'done' }
  const { entry } = sandbox
  const { operation, generation } = underOrder(sandbox, order)
  if (entry === undefined) throw new Error('a deadline for a sandbox that is not there')
  await sandbox.record({ ...entry, generation, operation: { ...operation, outcome }, endAt: order.args.endAt })
  return outcome
}

/** An end that nobody ordered: the machine has gone, its time is over, or the host was started anew. */
export async function end(sandbox: Sandbox, reason: EndReason, message: string): Promise<void> {
  const { entry } = sandbox
  if (entry === undefined || entry.phase === 'ended') return
  await putAway(sandbox)
  await conclude(sandbox, { entry, snapshots: snapshotsOf(entry), ended: { reason, message, reported: false } })
}

export function reasonOf(exit: Exit): EndReason {
  return exit.reason === 'killed' ? 'error' : exit.reason
}

async function conclude(
  sandbox: Sandbox,
  end: {
    entry: RosterEntry
    snapshots: readonly string[]
    ended: { reason: EndReason; message: string; reported: boolean }
  },
): Promise<void> {
  await together(end.snapshots.map((snapshotID) => sandbox.node.snapshots.delete(snapshotID)))
  const { snapshotID: _, ...entry } = withoutMachine(end.entry)
  const at = new Date(sandbox.node.clock.now()).toISOString()
  await sandbox.record({ ...entry, phase: 'ended', ended: { ...end.ended, at } })
}

/** What only this sandbox has: its snapshot, and one that a pause may have been making. */
function snapshotsOf(entry: RosterEntry | undefined): string[] {
  return [entry?.snapshotID, entry?.operation.snapshotID].filter((id) => id !== undefined)
}
