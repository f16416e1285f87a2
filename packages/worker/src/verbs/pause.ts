// Writes a running sandbox out, and gives its host back.
//
//   room ── stop ── save ── seal ═══ put away ── record ── delete the snapshot before it
//                              │
//   until here a failure lets the machine run on; from here the snapshot is the sandbox
import type { Order, Outcome } from '@lelantos-ai/contract'
import type { Stopped } from '../engines/engine.ts'
import { OperationFailed } from '../failure.ts'
import { mustHaveRoom } from '../place.ts'
import { type Held, insist, type Sandbox, underOrder, withoutMachine } from '../sandbox.ts'
import type { SealedSnapshot } from '../snapshots/snapshots.ts'
import { together, until, within } from '../until.ts'
import { putAway } from './end.ts'
import { killMachine } from './restore.ts'

type PauseOrder = Extract<Order, { verb: 'pause' }>

const RUN_ON_MS = 5000
const CLOCK_MS = 5000

export async function pause(sandbox: Sandbox, order: PauseOrder, signal: AbortSignal): Promise<Outcome> {
  const { held } = sandbox
  if (held === undefined) throw new OperationFailed('engine', `the sandbox is ${sandbox.entry?.phase ?? 'unknown'}`)
  const { snapshotID } = order.args
  const before = sandbox.entry?.snapshotID
  if (snapshotID === before) throw new OperationFailed('engine', `${snapshotID} exists already`)
  const entry = underOrder(sandbox, order)
  await together([sandbox.record(entry), mustHaveRoom(sandbox.node)])
  const sealed = await snapshot(sandbox, held, snapshotID, signal)
  await insist(sandbox, signal, 'giving back the machine of a paused sandbox', () => putAway(sandbox))
  const outcome: Outcome = { status: 'done', snapshotBytes: sealed.bytes }
  const operation = { ...entry.operation, outcome }
  const paused = { ...withoutMachine(entry), phase: 'paused', snapshotID, operation } as const
  await insist(sandbox, signal, 'recording a pause', () => sandbox.record(paused))
  if (before !== undefined) await deleteSnapshot(sandbox, before)
  return outcome
}

async function snapshot(
  sandbox: Sandbox,
  held: Held,
  snapshotID: string,
  signal: AbortSignal,
): Promise<SealedSnapshot> {
  const { machine } = held
  const { snapshots } = sandbox.node
  let stopped: Stopped | undefined
  // Aborted, this comes to its end by itself and leaves nothing: its draft goes, and what it still seals is deleted.
  const write = async (from: Stopped) => {
    await using draft = await snapshots.begin(snapshotID)
    const saved = await from.save(draft.folder, { memory: true })
    signal.throwIfAborted()
    return await snapshots.seal(draft, saved, held.from) // before the draft is disposed of
  }
  try {
    stopped = machine.phase === 'stopped' ? machine : await until(signal, machine.stop(), (late) => late.run())
    held.machine = stopped
    return await until(signal, write(stopped), () => snapshots.delete(snapshotID))
  } catch (error) {
    await deleteSnapshot(sandbox, snapshotID)
    if (stopped !== undefined) await runOn(sandbox, held, stopped)
    throw error
  }
}

/** A machine that cannot run on is ended: its supervisor sees that, and the sandbox ends with it. */
async function runOn(sandbox: Sandbox, held: Held, stopped: Stopped): Promise<void> {
  try {
    held.machine = await within(RUN_ON_MS, 'running on', stopped.run())
  } catch (err) {
    sandbox.log.error({ err }, 'the machine cannot run on after a failed pause')
    await killMachine(stopped)
    return
  }
  // Its clock stood still meanwhile.
  const { guest } = sandbox.node
  await guest
    .setClock(held.place.slot.address, held.from.controlSecret, AbortSignal.timeout(CLOCK_MS))
    .catch((err: unknown) => sandbox.log.warn({ err }, 'the clock of the guest could not be set'))
}

/** A snapshot that stays although nothing names it is deleted by the sweep at the next start. */
async function deleteSnapshot(sandbox: Sandbox, snapshotID: string): Promise<void> {
  await sandbox.node.snapshots
    .delete(snapshotID)
    .catch((err: unknown) => sandbox.log.warn({ err, snapshotID }, 'a snapshot could not be deleted'))
}
