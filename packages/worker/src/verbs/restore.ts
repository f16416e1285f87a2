// The one operation behind create and resume: a snapshot becomes a machine that a sandbox can use.
//
//   place, verified snapshot, roster ── turn ── restore ── run ── /init ── handed over
import type { GuestInit } from '../guest/guest.ts'
import { acquirePlace, type HeldPlace } from '../place.ts'
import type { Running, Shape } from '../engines/engine.ts'
import type { Held } from '../sandbox.ts'
import type { WorkerNode } from '../node.ts'
import { together, until, within } from '../until.ts'

export interface Restoration {
  readonly machineID: string
  readonly snapshotID: string
  readonly shape: Shape
  readonly init: GuestInit
  /** Must be on disk before a process starts. */
  readonly recorded: Promise<void>
}

/** How long a guest may take from `run` to the end of `/init`. */
const INIT_MS = 30_000
/** An engine's kill is at once; what takes longer is left to the cgroup. */
const KILL_MS = 2000

/** Yields a machine that has answered `/init`. Whatever fails or aborts it, nothing of it is left on the host. */
export async function restoreMachine(node: WorkerNode, wanted: Restoration, signal: AbortSignal): Promise<Held> {
  await using undo = new AsyncDisposableStack()
  const placed = acquirePlace(node, wanted.machineID, wanted.shape).then((place) => undo.use(place))
  const [place, from] = await together([placed, node.snapshots.open(wanted.snapshotID), wanted.recorded])
  node.snapshots.mustFit(from, node.engine.world(wanted.shape))
  using _turn = await node.restores.take(signal)
  signal.throwIfAborted()
  const stopped = await until(signal, node.engine.restore(from, place, signal), (late) => late.kill())
  undo.defer(() => killMachine(stopped))
  const running = await until(signal, stopped.run())
  await initGuest(node, { place, running, secret: from.controlSecret, init: wanted.init }, signal)
  undo.move()
  return { machine: running, place, from }
}

async function initGuest(
  node: WorkerNode,
  guest: { place: HeldPlace; running: Running; secret: string; init: GuestInit },
  signal: AbortSignal,
): Promise<void> {
  // A VMM that dies now would otherwise be waited for until the deadline.
  const ended = guest.running.exited.then((exit) => {
    throw new Error(`the machine ended before its guest answered (${exit.reason}): ${exit.message}`)
  })
  const initialised = node.guest.init(
    guest.place.slot.address,
    guest.secret,
    guest.init,
    AbortSignal.any([signal, AbortSignal.timeout(INIT_MS)]),
  )
  ended.catch(() => {}) // the end of a machine later on is its supervisor's to see
  await until(signal, Promise.race([initialised, ended]))
}

/** Ends a machine. It does not throw: what it leaves is killed with its cgroup. */
export async function killMachine(machine: { kill(): Promise<void> }): Promise<void> {
  await within(KILL_MS, 'killing a machine', machine.kill()).catch(() => {})
}
