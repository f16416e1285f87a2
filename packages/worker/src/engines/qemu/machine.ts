// One QEMU process as a machine. What may be done with it follows from its phase:
//
//      restore -> Stopped <-- stop() -- Running <- boot
//                 Stopped --- run() --> Running            from either: kill(), or an end of its own -> exited
//
// The two phases are views of one object; a view whose phase is over is refused.
import { constants, open, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { killAndWait, type ProcessIdentity } from '../../host/process.ts'
import { EngineError, type Exit, type Handle, type Running, type Saved, type Stopped, type World } from '../engine.ts'
import { ExitWatch } from '../exit-watch.ts'
import type { DiskChain } from './disk-chain.ts'
import { runFolder } from './launch.ts'
import type { MemoryCopier } from './memory.ts'
import type { Qmp, QmpEvent } from './qmp.ts'

export interface MachineContext {
  readonly world: World
  readonly copier: MemoryCopier
  readonly clone: (from: string, to: string) => Promise<void>
  /** Bytes free on the volume: a machine that ran out of room goes on when there is some. */
  readonly room: () => Promise<number>
  readonly onDiskFull?: ((machineID: string) => void) | undefined
  readonly onSaved?: ((machineID: string, times: SaveTimes) => void) | undefined
  /** Of a background step that failed and will be tried again. */
  readonly onTrouble?: ((machineID: string, error: unknown) => void) | undefined
}

/** Where the time of a save went, in ms. */
export interface SaveTimes {
  readonly cloneMs: number
  readonly stateMs: number
  readonly scanMs: number
  readonly copyMs: number
  readonly copiedBytes: number
  readonly totalMs: number
}

export interface MachineParts {
  readonly handle: Handle
  readonly qmp: Qmp
  readonly chain: DiskChain
  readonly context: MachineContext
  /** File in the machine's folder that its memory is a private mapping of, and where that is sealed if it is a snapshot's. */
  readonly memory: { readonly file: string; readonly sealed?: string }
}

const STOP_MS_MAX = 30_000
/** Device state is some 20 kB; a VMM that was broken into may write anything. */
const STATE_BYTES_MAX = 16_777_216

export class QemuMachine {
  readonly #parts: MachineParts
  readonly #process: ProcessIdentity
  readonly #watch: ExitWatch
  #phase: 'running' | 'stopped'
  #shutdown: string | undefined
  #killed = false
  #over = false
  #released = false
  #saves = 0
  #waitsForRoom = false
  readonly exited: Promise<Exit>

  constructor(parts: MachineParts, phase: 'running' | 'stopped') {
    this.#parts = parts
    this.#process = parts.handle
    this.#watch = new ExitWatch(parts.handle)
    this.#phase = phase
    parts.qmp.onEvent((event) => this.#onEvent(event))
    this.exited = this.#end()
  }

  running(): Running {
    const { handle } = this.#parts
    return { phase: 'running', handle, exited: this.exited, kill: () => this.kill(), stop: () => this.#stop() }
  }

  stopped(): Stopped {
    return {
      phase: 'stopped',
      handle: this.#parts.handle,
      exited: this.exited,
      kill: () => this.kill(),
      run: () => this.run(),
      save: (into, what) => this.#save(into, what.memory),
    }
  }

  async kill(): Promise<void> {
    if (!this.#over) this.#killed = true
    await killAndWait(this.#process)
    if (this.#released) return
    this.#watch.look()
    await this.exited
  }

  /** Lets go of a machine that lives on: `exited` will never settle. */
  release(): void {
    this.#over = true
    this.#released = true
    this.#watch[Symbol.dispose]()
    this.#parts.qmp.close()
  }

  async run(): Promise<Running> {
    this.#mustBe('stopped')
    const { qmp, chain } = this.#parts
    await this.#named('go on', async () => {
      await chain.thaw(qmp)
      await qmp.execute('cont')
    })
    this.#phase = 'running'
    chain.shorten(qmp).catch((error: unknown) => this.#trouble(error))
    return this.running()
  }

  async #stop(): Promise<Stopped> {
    this.#mustBe('running')
    await this.#named('stop', () => this.#parts.qmp.execute('stop', {}, STOP_MS_MAX))
    this.#phase = 'stopped'
    return this.stopped()
  }

  async #save(into: string, withMemory: boolean): Promise<Saved> {
    this.#mustBe('stopped')
    const { qmp, chain, context } = this.#parts
    return this.#named('be saved', async () => {
      const rest = withMemory ? await this.#saveMemory(into) : {}
      try {
        return { world: context.world, ...rest, disks: await chain.saveInto(into, qmp) }
      } catch (error) {
        await removeMemory(into)
        throw error
      }
    })
  }

  async #saveMemory(into: string): Promise<Pick<Saved, 'memory' | 'state'>> {
    const { handle, memory, context } = this.#parts
    const start = performance.now()
    const base = join(handle.folder, memory.file)
    const target = join(into, 'memory')
    try {
      let cloneMs = 0
      let stateMs = 0
      // Both settle before a failure removes what they write.
      const steps = await Promise.allSettled([
        context.clone(base, target).then(() => (cloneMs = performance.now() - start)),
        this.#saveState(join(into, 'state')).then(() => (stateMs = performance.now() - start)),
      ])
      for (const step of steps) if (step.status === 'rejected') throw step.reason
      const copied = await context.copier.copy({ pid: this.#process.pid, base, target })
      const { scanMs, copyMs, bytes: copiedBytes, changed } = copied
      const totalMs = performance.now() - start
      context.onSaved?.(handle.machineID, { cloneMs, stateMs, scanMs, copyMs, copiedBytes, totalMs })
      const from = memory.sealed
      return { memory: { name: 'memory', ...(from ? { inherits: { from, changed } } : {}) }, state: { name: 'state' } }
    } catch (error) {
      await removeMemory(into)
      throw error
    }
  }

  /** QEMU writes device state into its own folder; root copies it, following no link that QEMU's user may have put there. */
  async #saveState(target: string): Promise<void> {
    const name = `state-${this.#saves++}`
    const path = join(this.#parts.handle.folder, runFolder, name)
    try {
      await this.#parts.qmp.execute('xen-save-devices-state', { filename: name, live: false }, STOP_MS_MAX)
      const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
      await using file = await open(path, flags)
      const { size } = await file.stat()
      if (size === 0 || size > STATE_BYTES_MAX) throw new EngineError(`the device state has ${size} bytes`)
      const { buffer, bytesRead } = await file.read(Buffer.alloc(size), 0, size, 0)
      await writeFile(target, buffer.subarray(0, bytesRead), { flag: 'wx', mode: 0o600 })
    } finally {
      await rm(path, { force: true })
    }
  }

  #mustBe(phase: 'running' | 'stopped'): void {
    const { machineID } = this.#parts.handle
    if (this.#over) throw new EngineError(`machine ${machineID} has ended`)
    if (this.#phase !== phase) throw new EngineError(`machine ${machineID} is ${this.#phase}, not ${phase}`)
  }

  async #named<T>(verb: string, step: () => Promise<T>): Promise<T> {
    try {
      return await step()
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause)
      throw new EngineError(`machine ${this.#parts.handle.machineID} could not ${verb}: ${why}`, { cause })
    }
  }

  #trouble(error: unknown): void {
    if (!this.#over) this.#parts.context.onTrouble?.(this.#parts.handle.machineID, error)
  }

  #onEvent(event: QmpEvent): void {
    if (event.event === 'SHUTDOWN') this.#shutdown = String(event.data['reason'])
    if (event.event === 'BLOCK_IO_ERROR' && event.data['nospace'] === true && event.data['action'] === 'stop') {
      this.#parts.context.onDiskFull?.(this.#parts.handle.machineID)
      this.goOnWhenThereIsRoom()
    }
  }

  /** QEMU stops a guest whose write finds the volume full; continuing repeats the write. */
  goOnWhenThereIsRoom(): void {
    if (this.#waitsForRoom) return
    this.#waitsForRoom = true
    const look = async () => {
      if (this.#over || this.#phase !== 'running') return false
      if ((await this.#parts.context.room()) <= 0) return true
      const { status } = (await this.#parts.qmp.execute('query-status')) as { status: string }
      if (status === 'io-error') await this.#parts.qmp.execute('cont')
      return false
    }
    const again = () => {
      const timer = setTimeout(() => {
        look()
          .catch((error: unknown) => {
            this.#trouble(error)
            return true
          })
          .then(
            (more) => {
              this.#waitsForRoom = more
              if (more) again()
            },
            () => {},
          )
      }, 1000)
      timer.unref()
    }
    again()
  }

  async #end(): Promise<Exit> {
    void this.#parts.qmp.closed.then(() => this.#lookOften())
    await this.#watch.gone
    this.#over = true
    this.#parts.qmp.close()
    return exitOf(this.#killed, this.#shutdown)
  }

  /** QEMU closes its socket some milliseconds before it is gone. */
  #lookOften(): void {
    for (let ms = 5; ms < 200; ms *= 2) setTimeout(() => this.#watch.look(), ms).unref()
  }
}

function exitOf(killed: boolean, shutdown: string | undefined): Exit {
  if (killed) return { reason: 'killed', message: 'killed' }
  switch (shutdown) {
    case 'guest-shutdown':
      return { reason: 'guest_shutdown', message: 'the guest powered itself off' }
    case 'guest-reset':
      return { reason: 'guest_reset', message: 'the guest rebooted or its kernel panicked' }
    case undefined:
      return { reason: 'vmm_died', message: 'QEMU ended without a word' }
    default:
      return { reason: 'vmm_died', message: `QEMU was shut down (${shutdown})` }
  }
}

async function removeMemory(into: string): Promise<void> {
  for (const name of ['memory', 'state']) await rm(join(into, name), { force: true })
}
