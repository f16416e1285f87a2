// The worker's process: machines, as root. It speaks to the bus, to its guests and to no one else.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { limits, type Log } from '@lelantos-ai/contract'
import { openQemu, type QemuEngine } from '@lelantos-ai/worker/engines/qemu/qemu'
import { httpGuest } from '@lelantos-ai/worker/guest/http-guest'
import { openCgroups } from '@lelantos-ai/worker/host/cgroups'
import { SLOTS_MAX } from '@lelantos-ai/worker/net/addresses'
import { openSlots } from '@lelantos-ai/worker/net/slots'
import { Roster } from '@lelantos-ai/worker/roster'
import { openSnapshots } from '@lelantos-ai/worker/snapshots/open'
import { buildOf, type TemplateSource } from '@lelantos-ai/worker/templates'
import type { Volume } from '@lelantos-ai/worker/volume/volume'
import { openVolume } from '@lelantos-ai/worker/volume/open'
import { startWorker } from '@lelantos-ai/worker/worker'
import { connectNATS } from '../adapters/nats-bus.ts'
import { homeAt } from '../home.ts'
import { processLog } from '../log.ts'
import { runRole } from './channel.ts'
import type { FromWorker, ToWorker, WorkerStart } from './messages.ts'

/** Below this much free space on the volume, or on the file system under it, nothing new is written. */
const RESERVE_BYTES = 1024 ** 3
/** Idle network slots that wait for the next create. */
const IDLE_SLOTS = 4

/** The role. Resolves with the exit code once it has been told to stop, or its parent is gone; machines run on in either case unless told otherwise. */
export function worker(): Promise<number> {
  return runRole<ToWorker, FromWorker>('worker', async ({ start }, say) => {
    const log = processLog('worker', start.config.logLevel)
    const opened = await open(start, log, (text) => say({ kind: 'progress', text }))
    opened.worker.ready.then(
      () => say({ kind: 'ready' }),
      (err: unknown) => {
        log.error({ err }, 'a template could not be made')
        say({ kind: 'failed', message: err instanceof Error ? err.message : String(err) })
      },
    )
    return {
      see: async (message) => {
        if (message.kind === 'inspect') {
          say({ kind: 'inspected', request: message.request, found: opened.worker.inspect(message.sandboxID) ?? null })
        }
      },
      stop: (message) => opened.close(message?.machines ?? 'keep'),
    }
  })
}

async function open(start: WorkerStart, log: Log, progress: (text: string) => void) {
  const { config, installation } = start
  const home = homeAt(config.home)
  const installationKey = Buffer.from(start.installationKey, 'hex')
  await using undo = new AsyncDisposableStack()
  const volume = await openVolume({
    folder: home.volume,
    image: home.volumeImage,
    ...(config.vmDiskBytes === undefined ? {} : { sizeBytes: config.vmDiskBytes }),
    reserveBytes: RESERVE_BYTES,
    log,
  })
  // Machines that are left running have their files open on it: then it stays.
  undo.defer(() => volume.close().catch((err: unknown) => log.info({ err }, 'the volume stays mounted')))
  const snapshots = undo.use(await openSnapshots({ root: volume.root, installationKey, log }))
  const engine = undo.use(await openEngine(start, volume, log))
  const slots = await openSlots({
    installation,
    subnet: start.subnet,
    uidBase: start.uidBase,
    size: SLOTS_MAX,
    idle: IDLE_SLOTS,
    inUse: await slotsInUse(home.worker, log),
    clients: [start.serverUID],
    log,
  })
  undo.defer(() => slots.close({ keep: true }))
  const cgroups = undo.use(await openCgroups({ installation }))
  const bus = undo.use(await connectNATS({ url: start.natsURL, token: start.natsToken, name: 'worker', log }))
  const worker = await startWorker({
    installation,
    installationKey,
    workerID: start.workerID,
    bus,
    log,
    engine,
    slots,
    volume,
    snapshots,
    cgroups,
    guest: httpGuest,
    folder: home.worker,
    memoryTotalMB: config.memoryMB,
    overcommit: config.memoryOvercommit,
    parallelRestores: config.parallelRestores,
    templates: [baseTemplate(start)],
    version: start.version,
    bootID: (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim(),
    progress,
  })
  const ports = undo.move()
  return {
    worker,
    close: async (machines: 'keep' | 'end') => {
      await worker.close({ machines })
      await ports.disposeAsync()
    },
  }
}

function openEngine({ accelerator, tscKHz }: WorkerStart, volume: Volume, log: Log): Promise<QemuEngine> {
  return openQemu({
    accelerator,
    tscKHz,
    folder: join(volume.root, 'engines'),
    clone: (from, to) => volume.clone(from, to),
    room: () => volume.room(),
    onDiskFull: (machineID) => log.warn({ machineID }, 'the volume is full: a machine that writes waits for room'),
    onTrouble: (machineID, err) => log.warn({ machineID, err }, 'a machine has had trouble'),
  })
}

function baseTemplate(start: WorkerStart): TemplateSource {
  const { kernel, initramfs, image, madeWith } = start.artifacts
  const shape = { cpuCount: limits.cpuCount.default, memoryMB: limits.memoryMB.default, diskSizeMB: limits.diskSizeMB }
  const source = { name: 'base', shape, madeWith, kernel, initramfs, image }
  return { ...source, buildID: buildOf(source) }
}

/** Slots of machines that an earlier run of the worker has left: they must not be taken down before they are adopted. */
async function slotsInUse(folder: string, log: Log): Promise<number[]> {
  const roster = await Roster.open(join(folder, 'roster'), log)
  const { entries } = await roster.read()
  return entries.flatMap(({ machine }) => (machine?.held === undefined ? [] : [machine.held.slotIndex]))
}
