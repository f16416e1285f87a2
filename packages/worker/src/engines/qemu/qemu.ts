// The engine `qemu`: `-M microvm`, translated (TCG) or with KVM by the same code. The figures behind the choices here are
// in docs/decisions.
import { chmod, link, open, readlink, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { limits } from '@lelantos-ai/contract'
import { command } from '../../host/command.ts'
import { identify, killAndWait } from '../../host/process.ts'
import {
  type BootSpec,
  type Capabilities,
  type Engine,
  EngineError,
  type Handle,
  type Place,
  type Running,
  type Shape,
  type Snapshot,
  type Stopped,
  type World,
} from '../engine.ts'
import { verifyFiles } from '../verify.ts'
import { type Accelerator, cpuModel, deviceSet, type MachineArguments, machineArguments } from './command-line.ts'
import { DiskChain } from './disk-chain.ts'
import { EmptyOverlays } from './empty-overlays.ts'
import { hostCPU } from './host-cpu.ts'
import { lastWords, launch, prepareFolder, runFolder, socketName, type Launched } from './launch.ts'
import { QemuMachine, type MachineContext, type SaveTimes } from './machine.ts'
import { MemoryCopier } from './memory.ts'
import { Qmp } from './qmp.ts'

export interface QemuOptions {
  /** `qemu-system-x86_64` of the PATH unless given. */
  readonly binary?: string
  readonly accelerator: Accelerator
  /** Rate of this host's time-stamp counter: under TCG the guest's clock runs at it. */
  readonly tscKHz: number
  /** On the VM volume, for files that machines share: empty overlays. */
  readonly folder: string
  readonly clone: (from: string, to: string) => Promise<void>
  readonly room: () => Promise<number>
  /** A guest was stopped because its write found the volume full; it goes on by itself when there is room. */
  readonly onDiskFull?: (machineID: string) => void
  readonly onSaved?: (machineID: string, times: SaveTimes) => void
  readonly onTrouble?: (machineID: string, error: unknown) => void
}

/** How long QEMU may take to come up and load a state; calm machines need 50 ms. */
const START_MS_MAX = 30_000
const ADOPT_MS_MAX = 5000

/** Finds QEMU and reads its version. Rejects with `CommandError` when it does not run. */
export async function openQemu(options: QemuOptions): Promise<QemuEngine> {
  const name = options.binary ?? 'qemu-system-x86_64'
  const { stdout: path } = await command('sh', ['-c', 'command -v "$1"', 'sh', name], { deadlineMs: 10_000 })
  const binary = await realpath(path.trim())
  const { stdout } = await command(binary, ['--version'], { deadlineMs: 30_000 })
  const version = /version (\d+\.\d+\.\d+)/.exec(stdout)?.[1]
  if (version === undefined) throw new EngineError(`${binary} states no version: ${stdout.slice(0, 100)}`)
  return new QemuEngine(options, binary, version)
}

export class QemuEngine implements Engine, Disposable {
  readonly name = 'qemu'
  readonly can: Capabilities
  readonly #options: QemuOptions
  readonly #binary: string
  readonly #version: string
  readonly #empty: EmptyOverlays
  readonly #copier = new MemoryCopier()
  readonly #cpu: string
  readonly #machines = new Set<QemuMachine>()

  constructor(options: QemuOptions, binary: string, version: string) {
    this.#options = options
    this.#binary = binary
    this.#version = version
    this.#empty = new EmptyOverlays(options.folder)
    this.#cpu = options.accelerator === 'tcg' ? cpuModel.tcg : hostCPU()
    this.can = { overheadMB: limits.overheadMB[options.accelerator], label: `qemu (${options.accelerator})` }
  }

  world(shape: Shape): World {
    const { accelerator, tscKHz } = this.#options
    return {
      engine: this.name,
      version: this.#version,
      devices: deviceSet(accelerator),
      accelerator,
      cpu: this.#cpu,
      ...(accelerator === 'tcg' ? { tscKHz } : {}),
      shape,
    }
  }

  async boot(spec: BootSpec, signal: AbortSignal): Promise<Running> {
    const { folder, slot, shape } = spec
    await prepareFolder(folder, slot.uid)
    // Memory is a private mapping of an empty file: a save of a booted machine is then like any other.
    await using file = await open(join(folder, 'memory'), 'wx', 0o444)
    await file.truncate(shape.memoryMB * 1_048_576)
    await chmod(join(folder, 'memory'), 0o444)
    const chain = await DiskChain.boot({ ...this.#chainOptions(spec), sealed: {} }, spec.disk)
    const { accelerator, tscKHz } = this.#options
    const boot = { ...(accelerator === 'tcg' ? { tscKHz } : {}), console: spec.consoleLog !== undefined }
    const args = this.#arguments(spec, chain, { boot })
    const console = spec.consoleLog === undefined ? undefined : { append: spec.consoleLog }
    const inherited = [undefined, console, { read: spec.kernel }, { read: spec.initramfs }]
    const machine = await this.#start(spec, args, inherited, signal, 'prelaunch', chain, {})
    return await machine.run()
  }

  async restore(snapshot: Snapshot, place: Place, signal: AbortSignal): Promise<Stopped> {
    await verifyFiles(snapshot, place.shape)
    const { folder, slot } = place
    await prepareFolder(folder, slot.uid)
    // A hard link: the snapshot may be deleted while this machine lives.
    await link(snapshot.memory, join(folder, 'memory'))
    const chain = await DiskChain.restore(this.#chainOptions(place), snapshot.disks)
    const args = this.#arguments(place, chain)
    const sealed = { memory: snapshot.memory, disks: chain.sealed }
    const machine = await this.#start(place, args, [{ read: snapshot.state }], signal, 'paused', chain, sealed)
    return machine.stopped()
  }

  /** A machine in its place, over its chain; one that boots says how. */
  #arguments(place: Place, chain: DiskChain, how: Pick<MachineArguments, 'boot'> = {}): string[] {
    const { accelerator } = this.#options
    const { shape, slot } = place
    return machineArguments({
      accelerator,
      shape,
      memory: 'memory',
      chain: chain.images,
      tap: slot.tap,
      socket: socketName,
      ...how,
    })
  }

  async adopt(handle: Handle, signal: AbortSignal): Promise<Running | Stopped | undefined> {
    signal.throwIfAborted()
    const kept = handle.private as unknown as Private
    const exe = await readlink(`/proc/${handle.pid}/exe`).catch(() => undefined)
    // A package upgrade replaces the file under a running program.
    if (exe?.replace(/ \(deleted\)$/, '') !== kept.exe) return undefined
    if (identify(handle.pid)?.startTime !== handle.startTime) return undefined
    const qmp = await Qmp.connect(join(handle.folder, runFolder, socketName), ADOPT_MS_MAX)
    try {
      const { status } = (await qmp.execute('query-status')) as { status: string }
      // The worker ended in the middle of a restore: nobody was given this machine.
      if (status === 'inmigrate' || status === 'prelaunch') {
        await killAndWait(handle)
        qmp.close()
        return undefined
      }
      const { folder } = handle
      const limits = { folder, uid: kept.uid, empty: this.#empty, overlaysMax: chainMax }
      const chain = await DiskChain.adopt({ ...limits, sealed: kept.sealed.disks ?? {} }, qmp)
      const context = this.#context({ ...this.world(kept.shape), version: qmp.version })
      const memory = { file: 'memory', ...(kept.sealed.memory === undefined ? {} : { sealed: kept.sealed.memory }) }
      const isRunning = status === 'running' || status === 'io-error'
      const phase = isRunning ? 'running' : 'stopped'
      const machine = this.#hold(new QemuMachine({ handle, qmp, chain, context, memory }, phase))
      if (status === 'io-error') machine.goOnWhenThereIsRoom()
      return isRunning ? machine.running() : machine.stopped()
    } catch (error) {
      qmp.close()
      throw error
    }
  }

  /** Lets go of every machine; they live on, and another engine may adopt them. */
  [Symbol.dispose](): void {
    for (const machine of this.#machines) machine.release()
    this.#copier[Symbol.dispose]()
  }

  #hold(machine: QemuMachine): QemuMachine {
    this.#machines.add(machine)
    void machine.exited.then(() => this.#machines.delete(machine))
    return machine
  }

  #chainOptions(place: Place) {
    return { folder: place.folder, uid: place.slot.uid, empty: this.#empty, overlaysMax: chainMax }
  }

  #context(world: World): MachineContext {
    const { clone, room, onDiskFull, onSaved, onTrouble } = this.#options
    return { world, copier: this.#copier, clone, room, onDiskFull, onSaved, onTrouble }
  }

  async #start(
    place: Place,
    args: readonly string[],
    inherited: Parameters<typeof launch>[0]['inherited'],
    signal: AbortSignal,
    status: 'prelaunch' | 'paused',
    chain: DiskChain,
    sealed: Private['sealed'],
  ): Promise<QemuMachine> {
    const { accelerator } = this.#options
    const launched = await launch({
      binary: this.#binary,
      args,
      accelerator,
      place,
      inherited,
      deadlineMs: START_MS_MAX,
      signal,
    })
    try {
      await this.#reach(status, launched, place.folder, signal)
      const { process, qmp } = launched
      const exe = await readlink(`/proc/${process.pid}/exe`)
      const kept: Private = { exe, uid: place.slot.uid, shape: place.shape, sealed }
      const { machineID, folder } = place
      const handle: Handle = { engine: this.name, machineID, ...process, folder, private: { ...kept } }
      const context = this.#context({ ...this.world(place.shape), version: qmp.version })
      const memory = { file: 'memory', ...(sealed.memory === undefined ? {} : { sealed: sealed.memory }) }
      return this.#hold(new QemuMachine({ handle, qmp, chain, context, memory }, 'stopped'))
    } catch (error) {
      await killAndWait(launched.process)
      launched.qmp.close()
      throw error
    }
  }

  /** A state that does not load ends QEMU, with the reason in its log. */
  async #reach(status: string, { qmp }: Launched, folder: string, signal: AbortSignal): Promise<void> {
    const deadline = performance.now() + START_MS_MAX
    for (;;) {
      signal.throwIfAborted()
      const reply = (await qmp.execute('query-status').catch(async (cause: unknown) => {
        await qmp.closed
        throw new EngineError(`QEMU ended while loading: ${await lastWords(folder)}`, { cause })
      })) as { status: string }
      if (reply.status === status) return
      if (performance.now() > deadline) throw new EngineError(`QEMU is ${reply.status}, not ${status}`)
      await new Promise<void>((resolve) => setTimeout(resolve, 1))
    }
  }
}

const chainMax = limits.diskChain

/** What a handle keeps for this engine. */
interface Private {
  readonly exe: string
  readonly uid: number
  readonly shape: Shape
  /** Where the files of the snapshot that the machine was restored from are sealed; disks by their name in its folder. */
  readonly sealed: { readonly memory?: string; readonly disks?: Readonly<Record<string, string>> }
}
