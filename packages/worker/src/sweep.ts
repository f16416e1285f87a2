// What a worker does first: finds again what the one before it left. The roster says what there should be; cgroups and
// machine folders say what there is. Machines that a sandbox has are adopted; everything else goes.
//
//   settled, running      adopted; gone with its host: ended, host_restart; gone by itself: ended, vmm_died
//   create under way      its machine goes; the order comes again, and starts anew
//   resume under way      its machine goes, the snapshot stays; the order comes again
//   pause under way       the snapshot is sealed: finished; else adopted and run on, and the order comes again
//   release, kill         finished
//   paused, ended         nothing to do
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { WorkerNode } from './node.ts'
import { machineFolder, reclaimPlace } from './place.ts'
import type { RosterEntry, RosterRead } from './roster.ts'
import { type Held, type Sandbox, withoutMachine } from './sandbox.ts'
import { Supervisor } from './supervisor.ts'
import { until } from './until.ts'
import { end, kill, release } from './verbs/end.ts'

const ADOPT_MS = 10_000

/** Resolves when the host holds what the roster says, and nothing else of this installation. */
export async function sweep(node: WorkerNode, roster: RosterRead): Promise<Map<string, Supervisor>> {
  const supervisors = new Map<string, Supervisor>()
  const machines = new Set<string>()
  const recoveries: (() => Promise<void>)[] = []
  await Promise.all(
    roster.entries.map(async (entry) => {
      const { held, finish } = await recover(node, entry)
      const supervisor = new Supervisor(node, entry.sandboxID, { entry, held })
      supervisors.set(entry.sandboxID, supervisor)
      if (held !== undefined) machines.add(held.place.machineID)
      if (finish !== undefined) recoveries.push(() => supervisor.move(finish))
    }),
  )
  // A roster file that cannot be read may name any machine: its machine goes (nobody could reach it), its snapshots stay.
  await sweepMachines(node, machines)
  await Promise.all(recoveries.map((recovery) => recovery()))
  if (roster.damaged.length === 0) await sweepSnapshots(node, [...supervisors.values()])
  return supervisors
}

type Finish = (sandbox: Sandbox) => Promise<void>

async function recover(node: WorkerNode, entry: RosterEntry): Promise<{ held?: Held; finish?: Finish }> {
  const { machine, operation, phase, sandboxID } = entry
  if (phase === 'ended') return {}
  const order = { sandboxID, generation: entry.generation, operationID: operation.operationID, args: {} }
  const interrupted = operation.outcome === undefined ? operation.verb : undefined
  if (interrupted === 'kill')
    return { finish: async (sandbox) => void (await kill(sandbox, { ...order, verb: 'kill' })) }
  if (interrupted === 'release')
    return { finish: async (sandbox) => void (await release(sandbox, { ...order, verb: 'release' })) }
  if (interrupted === 'create' || interrupted === 'resume' || machine === undefined) return {}
  if (interrupted === 'pause' && operation.snapshotID !== undefined) {
    const sealed = await node.snapshots.open(operation.snapshotID).catch(() => undefined)
    if (sealed !== undefined) return { finish: (sandbox) => finishPause(sandbox, sealed.snapshotID, sealed.bytes) }
  }
  const held = await adopt(node, entry).catch((err: unknown) => {
    node.log.error({ err, sandboxID }, 'a machine cannot be adopted')
    return undefined
  })
  if (held !== undefined) return { held }
  if (entry.bootID !== node.bootID)
    return { finish: (sandbox) => end(sandbox, 'host_restart', 'the host was started anew') }
  return { finish: (sandbox) => end(sandbox, 'vmm_died', 'its machine ended while the worker was away') }
}

async function adopt(node: WorkerNode, entry: RosterEntry): Promise<Held | undefined> {
  const { machine, origin, bootID } = entry
  if (machine?.held === undefined || origin === undefined || bootID !== node.bootID) return undefined
  const { handle, slotIndex } = machine.held
  const signal = AbortSignal.timeout(ADOPT_MS)
  const from = await node.snapshots.open(machine.from)
  await using undo = new AsyncDisposableStack()
  const found = await until(signal, node.engine.adopt(handle, signal))
  if (found === undefined) return undefined
  undo.defer(() => found.kill())
  const place = undo.use(await reclaimPlace(node, machine.machineID, slotIndex, origin.shape))
  // Stopped in the middle of a pause: it goes on, and the pause comes again.
  const running = found.phase === 'stopped' ? await until(signal, found.run()) : found
  undo.move()
  return { machine: running, place, from }
}

/** The snapshot was durable: it is the sandbox, and the machine, if any is left, went with the sweep. */
async function finishPause(sandbox: Sandbox, snapshotID: string, bytes: number): Promise<void> {
  const { entry } = sandbox
  if (entry === undefined) return
  const operation = { ...entry.operation, outcome: { status: 'done', snapshotBytes: bytes } } as const
  await sandbox.record({ ...withoutMachine(entry), phase: 'paused', snapshotID, operation })
}

async function sweepMachines(node: WorkerNode, held: ReadonlySet<string>): Promise<void> {
  const folders = await readdir(join(node.volume.root, 'machines')).catch(() => [])
  const orphans = new Set(
    [...(await node.cgroups.list()).keys(), ...folders].filter((machineID) => !held.has(machineID)),
  )
  for (const machineID of orphans) {
    node.log.warn({ machineID }, 'a machine that no sandbox has is removed')
    try {
      await node.cgroups.remove(machineID)
      await rm(machineFolder(node, machineID), { recursive: true, force: true })
    } catch (err) {
      node.log.error({ err, machineID }, 'a machine that no sandbox has could not be removed')
    }
  }
}

/**
 * Keeps what a template is, what an entry names (as its snapshot, as one that a pause makes, or as what its machine is
 * over), and nothing else.
 */
async function sweepSnapshots(node: WorkerNode, supervisors: readonly Supervisor[]): Promise<void> {
  const keep = new Set<string | undefined>(node.templates.snapshotIDs(node.engine))
  for (const { entry } of supervisors) {
    keep.add(entry?.snapshotID).add(entry?.machine?.from)
    if (entry?.phase !== 'ended') keep.add(entry?.operation.snapshotID)
  }
  for (const snapshotID of await node.snapshots.list()) {
    if (keep.has(snapshotID)) continue
    node.log.warn({ snapshotID }, 'a snapshot that nothing names is deleted')
    await node.snapshots
      .delete(snapshotID)
      .catch((err: unknown) => node.log.error({ err, snapshotID }, 'a snapshot could not be deleted'))
  }
}
