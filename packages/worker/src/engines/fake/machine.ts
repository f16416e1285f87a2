// A fake machine. Its files have the shapes of real ones: memory of exactly the guest's size, a raw image and overlays that
// are hard links of what they were restored from; their content is JSON in the first 64 KiB.
import { link, open, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { limits } from '@lelantos-ai/contract'
import { killAndWait } from '../../host/process.ts'
import { EngineError, type Exit, type Handle, type Running, type Saved, type Stopped, type World } from '../engine.ts'
import { ExitWatch } from '../exit-watch.ts'
import type { FakeEngine } from './fake.ts'
import { counted, FakeGuest } from './guest.ts'

/** What a machine keeps in its folder for the next worker. */
export interface Kept {
  /** Names in the machine's folder, the raw image first. */
  readonly disks: readonly string[]
  /** Where those of the snapshot are sealed, and `memory`. */
  readonly sealed: Readonly<Record<string, string>>
  /** The highest image is part of a save: the next change needs another. */
  readonly frozen?: boolean
}

const IMAGE_BYTES = 65_536
const never = new AbortController().signal

export class FakeMachine {
  readonly #engine: FakeEngine
  readonly #handle: Handle
  readonly #world: World
  readonly #guest: FakeGuest
  readonly #watch: ExitWatch
  #kept: Kept
  #phase: 'running' | 'stopped'
  #killed = false
  #over = false
  readonly exited: Promise<Exit>

  constructor(engine: FakeEngine, handle: Handle, world: World, kept: Kept, phase: 'running' | 'stopped') {
    this.#engine = engine
    this.#handle = handle
    this.#world = world
    this.#kept = kept
    this.#phase = phase
    this.#guest = new FakeGuest(handle.folder)
    this.#watch = new ExitWatch(handle)
    this.exited = this.#watch.gone.then(() => this.#exit())
  }

  running(): Running {
    return {
      phase: 'running',
      handle: this.#handle,
      exited: this.exited,
      kill: () => this.kill(),
      stop: () => this.#stop(),
    }
  }

  stopped(): Stopped {
    return {
      phase: 'stopped',
      handle: this.#handle,
      exited: this.exited,
      kill: () => this.kill(),
      run: () => this.run(),
      save: (into, what) => this.#save(into, what.memory),
    }
  }

  async kill(): Promise<void> {
    if (!this.#over) await this.#engine.meet('kill', this.#handle, never)
    if (!this.#over) this.#killed = true
    await killAndWait(this.#handle)
    this.#watch.look()
    await this.exited
  }

  async run(): Promise<Running> {
    this.#mustBe('stopped')
    await this.#engine.meet('run', this.#handle, never)
    return this.start()
  }

  /** Runs without meeting a fault: a boot has met its own. */
  async start(): Promise<Running> {
    if (this.#kept.frozen) await this.#addOverlay()
    this.#guest.setRunning(true)
    this.#phase = 'running'
    return this.running()
  }

  /** Writes down what the next worker needs. */
  async keep(): Promise<void> {
    await writeFile(join(this.#handle.folder, 'kept.json'), JSON.stringify(this.#kept))
  }

  async #stop(): Promise<Stopped> {
    this.#mustBe('running')
    await this.#engine.meet('stop', this.#handle, never)
    this.#guest.setRunning(false)
    this.#phase = 'stopped'
    return this.stopped()
  }

  async #save(into: string, withMemory: boolean): Promise<Saved> {
    this.#mustBe('stopped')
    await this.#engine.meet('save', this.#handle, never)
    try {
      const memory = withMemory ? await this.#saveMemory(into) : {}
      return { world: this.#world, ...memory, disks: await this.#saveDisks(into) }
    } catch (cause) {
      throw new EngineError(`machine ${this.#handle.machineID} could not be saved`, { cause })
    }
  }

  async #saveMemory(into: string): Promise<Pick<Saved, 'memory' | 'state'>> {
    const state = this.#guest.state()
    await writeImage(join(into, 'memory'), { counted: counted(state), remembered: state.remembered }, 'wx')
    await truncate(join(into, 'memory'), this.#world.shape.memoryMB * 1_048_576)
    await writeFile(join(into, 'state'), 'The state of a fake machine, which ends in a full stop.', { flag: 'wx' })
    const from = this.#kept.sealed['memory']
    return {
      memory: { name: 'memory', ...(from === undefined ? {} : { inherits: { from, changed: [0] } }) },
      state: { name: 'state' },
    }
  }

  async #saveDisks(into: string): Promise<Saved['disks']> {
    const { folder } = this.#handle
    const top = this.#kept.disks.at(-1) ?? ''
    await writeImage(join(folder, top), this.#guest.state().files, 'r+')
    await this.#merge()
    const saved: Saved['disks'][number][] = []
    for (const [index, disk] of this.#kept.disks.entries()) {
      const name = `disk-${index}.${index === 0 ? 'raw' : 'qcow2'}`
      await link(join(folder, disk), join(into, name))
      const from = this.#kept.sealed[disk]
      saved.push({ name, ...(from === undefined ? {} : { inherits: { from, changed: [] } }) })
    }
    this.#kept = { ...this.#kept, frozen: true }
    await this.keep()
    return saved
  }

  /** The highest image holds all files, so the overlays below it can go. */
  async #merge(): Promise<void> {
    const { disks } = this.#kept
    if (disks.length - 1 <= limits.diskChain) return
    for (const disk of disks.slice(1, -1)) await rm(join(this.#handle.folder, disk))
    this.#kept = { ...this.#kept, disks: [...disks.slice(0, 1), ...disks.slice(-1)] }
  }

  async #addOverlay(): Promise<void> {
    const highest = Number(/\d+/.exec(this.#kept.disks.at(-1) ?? '')?.[0] ?? 0)
    const name = `disk-${highest + 1}.qcow2`
    await writeFile(join(this.#handle.folder, name), '{}', { flag: 'wx' })
    this.#kept = { ...this.#kept, disks: [...this.#kept.disks, name], frozen: false }
    await this.keep()
  }

  #exit(): Exit {
    this.#over = true
    if (this.#killed) return { reason: 'killed', message: 'killed' }
    let reason: Exit['reason'] = 'vmm_died'
    try {
      reason = this.#guest.state().ended ?? reason
    } catch {
      // Its folder is gone already.
    }
    return { reason, message: `the fake machine ended: ${reason}` }
  }

  #mustBe(phase: 'running' | 'stopped'): void {
    const { machineID } = this.#handle
    if (this.#over) throw new EngineError(`machine ${machineID} has ended`)
    if (this.#phase !== phase) throw new EngineError(`machine ${machineID} is ${this.#phase}, not ${phase}`)
  }
}

/** What an image of this engine holds; nothing, if it was made elsewhere. */
export async function readImage(path: string): Promise<Record<string, unknown>> {
  await using file = await open(path, 'r')
  const { buffer, bytesRead } = await file.read(Buffer.alloc(IMAGE_BYTES), 0, IMAGE_BYTES, 0)
  const text = buffer.toString('utf8', 0, bytesRead).replace(/\0.*$/s, '')
  return text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {}
}

async function writeImage(path: string, content: object, flags: 'wx' | 'r+'): Promise<void> {
  const bytes = Buffer.alloc(IMAGE_BYTES)
  if (bytes.write(JSON.stringify(content)) === IMAGE_BYTES) throw new EngineError('the fake guest holds too much')
  await using file = await open(path, flags)
  await file.write(bytes, 0, IMAGE_BYTES, 0)
}
