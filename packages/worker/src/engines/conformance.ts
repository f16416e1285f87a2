// What every engine must do. `engineConformance` registers the tests, given a rig: the engine, places for machines to live
// in, and a probe that speaks to the guest. The fake runs it as a unit test, the real ones in `tests/engines`.
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { chmod, chown, copyFile, lstat, readdir, readlink, rm, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { limits } from '@lelantos-ai/contract'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isAlive, sendSignal } from '../host/process.ts'
import {
  type BootSpec,
  type Engine,
  EngineError,
  type Exit,
  type Machine,
  type Place,
  type Running,
  type Saved,
  type Snapshot,
} from './engine.ts'

/** Speaks to the guest of a place, and waits for it where it must. */
export interface Probe {
  ready(place: Place): Promise<void>
  /** A number that something in the guest increments while it runs. */
  counter(place: Place): Promise<number>
  /** Fills memory with new bytes and returns their hash; `recall` hashes what is there. */
  remember(place: Place): Promise<string>
  recall(place: Place): Promise<string>
  /** Writes a file of random bytes to the disk and returns its hash; `hash` reads it back from the disk. */
  write(place: Place, name: string, bytes: number): Promise<string>
  hash(place: Place, name: string): Promise<string>
  powerOff(place: Place): Promise<void>
  reboot(place: Place): Promise<void>
}

export interface Rig extends AsyncDisposable {
  readonly engine: Engine
  readonly probe: Probe
  /** Lets go of the engine and its machines, as a worker's end does, and opens another. */
  reopen(): Promise<void>
  place(): Promise<Place>
  bootSpec(place: Place): Promise<BootSpec>
  /** A new empty folder on the volume. */
  folder(): Promise<string>
}

const untilDone = new AbortController().signal
/** Enough to see more than one block of everything. */
const FILE_BYTES = 20_000_000

/** The suite's state: a rig, a snapshot of a guest that has counted, remembers and has a file, and every machine made. */
class Bench {
  readonly rig: Rig
  readonly machines: Machine[] = []
  template!: { snapshot: Snapshot; folder: string; counter: number; remembered: string; file: string }

  constructor(rig: Rig) {
    this.rig = rig
  }

  keep<M extends Machine>(machine: M): M {
    this.machines.push(machine)
    return machine
  }

  async makeTemplate(): Promise<void> {
    const { rig } = this
    const place = await rig.place()
    const booted = this.keep(await rig.engine.boot(await rig.bootSpec(place), untilDone))
    await rig.probe.ready(place)
    const file = await rig.probe.write(place, 'file', FILE_BYTES)
    const remembered = await rig.probe.remember(place)
    const counter = await rig.probe.counter(place)
    const stopped = await booted.stop()
    const folder = await rig.folder()
    const saved = await stopped.save(folder, { memory: true })
    await stopped.kill()
    this.template = { snapshot: await seal(folder, saved), folder, counter, remembered, file }
  }

  /** A machine restored from a snapshot and running, its guest answering. */
  async running(snapshot: Snapshot = this.template.snapshot): Promise<{ place: Place; machine: Running }> {
    const place = await this.rig.place()
    const stopped = this.keep(await this.rig.engine.restore(snapshot, place, untilDone))
    const machine = await stopped.run()
    await this.rig.probe.ready(place)
    return { place, machine }
  }

  async save(machine: Running): Promise<{ snapshot: Snapshot; saved: Saved; folder: string; running: Running }> {
    const stopped = await machine.stop()
    const folder = await this.rig.folder()
    const saved = await stopped.save(folder, { memory: true })
    const running = await stopped.run()
    return { snapshot: await seal(folder, saved), saved, folder, running }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.machines.map((machine) => machine.kill()))
    await this.rig[Symbol.asyncDispose]()
  }
}

export function engineConformance(name: string, open: () => Promise<Rig>): void {
  describe(`engine ${name}`, () => {
    let bench: Bench
    const current = () => bench
    beforeAll(async () => {
      bench = new Bench(await open())
      await bench.makeTemplate()
    })
    afterAll(async () => {
      await bench?.[Symbol.asyncDispose]()
    })
    continuation(current)
    savedFiles(current)
    ends(current)
    adoption(current)
    failures(current)
  })
}

function continuation(bench: () => Bench): void {
  it('restores a machine that is stopped, and goes on where it was saved', async () => {
    const { rig, template } = bench()
    const place = await rig.place()
    const stopped = bench().keep(await rig.engine.restore(template.snapshot, place, untilDone))
    expect(stopped.phase).toBe('stopped')
    expect(stopped.handle).toMatchObject({ engine: rig.engine.name, machineID: place.machineID, folder: place.folder })
    const running = await stopped.run()
    await rig.probe.ready(place)
    const first = await rig.probe.counter(place)
    expect(first).toBeGreaterThanOrEqual(template.counter)
    // Restored, not booted: a guest that began anew would be far below, one that ran while stopped far above.
    expect(first).toBeLessThan(template.counter + 6000)
    expect(await rig.probe.recall(place)).toBe(template.remembered)
    expect(await rig.probe.hash(place, 'file')).toBe(template.file)
    expect(await rig.probe.counter(place)).toBeGreaterThan(first)
    await running.kill()
  })

  it('restores one snapshot twice at once, and neither sees the other', async () => {
    const { rig, template } = bench()
    const [one, two] = await Promise.all([bench().running(), bench().running()])
    const memory = await rig.probe.remember(one.place)
    const file = await rig.probe.write(one.place, 'file', 100_000)
    expect(await rig.probe.recall(two.place)).toBe(template.remembered)
    expect(await rig.probe.hash(two.place, 'file')).toBe(template.file)
    expect(await rig.probe.recall(one.place)).toBe(memory)
    expect(await rig.probe.hash(one.place, 'file')).toBe(file)
    await Promise.all([one.machine.kill(), two.machine.kill()])
  })

  it('stops and runs again, and refuses the phase that is over', async () => {
    const { rig } = bench()
    const { place, machine } = await bench().running()
    const stopped = await machine.stop()
    await expect(machine.stop()).rejects.toThrow(EngineError)
    const running = await stopped.run()
    await expect(stopped.save(await rig.folder(), { memory: true })).rejects.toThrow(EngineError)
    await expect(stopped.run()).rejects.toThrow(EngineError)
    const before = await rig.probe.counter(place)
    expect(await rig.probe.counter(place)).toBeGreaterThanOrEqual(before)
    await running.kill()
  })

  it('keeps memory, a file and a short disk over six pauses, without the snapshots in between', async () => {
    const { rig, template } = bench()
    let { snapshot } = template
    let previous: string | undefined
    let counter = template.counter
    for (let round = 0; round < 6; round++) {
      const { place, machine } = await bench().running(snapshot)
      // What a machine runs on may be deleted under it.
      if (previous !== undefined) await rm(previous, { recursive: true })
      await rig.probe.write(place, `round-${round}`, 300_000)
      const now = await rig.probe.counter(place)
      expect(now).toBeGreaterThan(counter)
      counter = now
      const stopped = await machine.stop()
      const folder = await rig.folder()
      const saved = await stopped.save(folder, { memory: true })
      await stopped.kill()
      expect(saved.disks.length - 1).toBeLessThanOrEqual(limits.diskChain)
      snapshot = await seal(folder, saved)
      previous = folder
    }
    const { place, machine } = await bench().running(snapshot)
    expect(await rig.probe.hash(place, 'file')).toBe(template.file)
    expect(await rig.probe.recall(place)).toBe(template.remembered)
    await machine.kill()
  })
}

function savedFiles(bench: () => Bench): void {
  it('saves files of the right names and sizes, in the world that the engine states', async () => {
    const { rig, template } = bench()
    const { place, machine } = await bench().running()
    const { saved, folder } = await bench().save(machine)
    expect(saved.world).toEqual(rig.engine.world(place.shape))
    expect((await readdir(folder)).toSorted()).toEqual(['disk-0.raw', 'disk-1.qcow2', 'memory', 'state'])
    expect(saved.disks.map((disk) => disk.name)).toEqual(['disk-0.raw', 'disk-1.qcow2'])
    expect((await stat(join(folder, 'memory'))).size).toBe(place.shape.memoryMB * 1_048_576)
    const raw = await stat(join(folder, 'disk-0.raw'))
    expect(raw.ino).toBe((await stat(template.snapshot.disks[0] ?? '')).ino)
    expect(saved.disks[0]?.inherits).toEqual({ from: template.snapshot.disks[0], changed: [] })
    await machine.kill()
  })

  it('names the chunks of memory that differ from the snapshot, and no fewer', async () => {
    const { rig, template } = bench()
    const { place, machine } = await bench().running()
    await rig.probe.remember(place)
    const { saved, folder } = await bench().save(machine)
    expect(saved.memory?.inherits?.from).toBe(template.snapshot.memory)
    const listed = new Set(saved.memory?.inherits?.changed)
    const differing = await differingChunks(template.snapshot.memory, join(folder, 'memory'))
    expect(differing.length).toBeGreaterThan(0)
    expect(differing.filter((chunk) => !listed.has(chunk))).toEqual([])
    await machine.kill()
  })

  it('runs on after a save without writing into what was saved', async () => {
    const { rig, template } = bench()
    const { place, machine } = await bench().running()
    const kept = await rig.probe.remember(place)
    const { snapshot, folder, running } = await bench().save(machine)
    const before = [await hashes(folder), await hashes(template.folder)]
    await rig.probe.remember(place)
    await rig.probe.write(place, 'file', 1_000_000)
    const second = await bench().save(running)
    expect([await hashes(folder), await hashes(template.folder)]).toEqual(before)
    // Both snapshots restore, each to its own moment.
    const older = await bench().running(snapshot)
    expect(await rig.probe.recall(older.place)).toBe(kept)
    expect(await rig.probe.hash(older.place, 'file')).toBe(template.file)
    const newer = await bench().running(second.snapshot)
    expect(await rig.probe.hash(newer.place, 'file')).toBe(await rig.probe.hash(place, 'file'))
    await Promise.all([machine, older.machine, newer.machine].map((each) => each.kill()))
  })

  it('saves the disk alone', async () => {
    const { machine } = await bench().running()
    const stopped = await machine.stop()
    const folder = await bench().rig.folder()
    const saved = await stopped.save(folder, { memory: false })
    expect(saved.memory).toBeUndefined()
    expect(saved.state).toBeUndefined()
    expect((await readdir(folder)).toSorted()).toEqual(['disk-0.raw', 'disk-1.qcow2'])
    await stopped.kill()
  })

  it('goes on when a save fails', async () => {
    const { rig } = bench()
    const { place, machine } = await bench().running()
    const stopped = await machine.stop()
    const folder = await rig.folder()
    await rm(folder, { recursive: true })
    await expect(stopped.save(folder, { memory: true })).rejects.toThrow(EngineError)
    const running = await stopped.run()
    const before = await rig.probe.counter(place)
    const { snapshot } = await bench().save(running)
    await machine.kill()
    const again = await bench().running(snapshot)
    expect(await rig.probe.counter(again.place)).toBeGreaterThanOrEqual(before)
    await again.machine.kill()
  })
}

function ends(bench: () => Bench): void {
  it('kills once and again, running, stopped and frozen, and leaves no process', async () => {
    const first = await bench().running()
    const [one, two] = await Promise.all([first.machine.kill(), first.machine.kill()])
    expect([one, two]).toEqual([undefined, undefined])
    expect(await first.machine.exited).toMatchObject({ reason: 'killed' })
    expect(isAlive(first.machine.handle)).toBe(false)
    await first.machine.kill()
    const second = await bench().running()
    const stopped = await second.machine.stop()
    await stopped.kill()
    await expect(stopped.run()).rejects.toThrow(EngineError)
    const third = await bench().running()
    sendSignal(third.machine.handle, 'SIGSTOP')
    await third.machine.kill()
    for (const { place } of [first, second, third]) expect(await processesIn(place)).toEqual([])
  })

  const causes: [Exit['reason'], (probe: Probe, place: Place, machine: Running) => Promise<unknown>][] = [
    ['vmm_died', async (_probe, _place, machine) => sendSignal(machine.handle, 'SIGKILL')],
    ['guest_shutdown', (probe, place) => probe.powerOff(place)],
    ['guest_reset', (probe, place) => probe.reboot(place)],
  ]
  it.each(causes)('tells %s', async (reason, cause) => {
    const { place, machine } = await bench().running()
    await cause(bench().rig.probe, place, machine)
    const exit = await machine.exited
    expect(exit.reason).toBe(reason)
    expect(isAlive(machine.handle)).toBe(false)
    await machine.kill()
    expect((await machine.exited).reason).toBe(reason)
  })

  it('tells an end within 500 ms', async () => {
    const { machine } = await bench().running()
    sendSignal(machine.handle, 'SIGKILL')
    const start = performance.now()
    await machine.exited
    expect(performance.now() - start).toBeLessThan(500)
  })
}

function adoption(bench: () => Bench): void {
  it('adopts running and stopped machines after a restart, and not those that are gone', async () => {
    const { rig, template } = bench()
    const running = await bench().running()
    const counter = await rig.probe.counter(running.place)
    const saved = await bench().running()
    const { snapshot } = await bench().save(saved.machine)
    const stopped = await bench().running()
    await stopped.machine.stop()
    const gone = await bench().running()
    await gone.machine.kill()
    await rig.reopen()

    const again = await rig.engine.adopt(running.machine.handle, untilDone)
    if (again?.phase !== 'running') throw new Error(`is ${again?.phase}, not running`)
    bench().keep(again)
    expect(await rig.probe.counter(running.place)).toBeGreaterThan(counter)
    const after = await bench().save(again)
    expect(after.saved.memory?.inherits?.from).toBe(template.snapshot.memory)

    const woken = await rig.engine.adopt(stopped.machine.handle, untilDone)
    if (woken?.phase !== 'stopped') throw new Error(`is ${woken?.phase}, not stopped`)
    bench().keep(woken)
    await woken.run()
    await rig.probe.ready(stopped.place)
    expect(await rig.probe.hash(stopped.place, 'file')).toBe(template.file)

    // One that runs on above a save does so after its adoption too.
    const above = await rig.engine.adopt(saved.machine.handle, untilDone)
    if (above?.phase !== 'running') throw new Error(`is ${above?.phase}, not running`)
    bench().keep(above)
    const before = await hashes(join(snapshot.memory, '..'))
    await rig.probe.write(saved.place, 'file', 1_000_000)
    await bench().save(above)
    expect(await hashes(join(snapshot.memory, '..'))).toEqual(before)

    expect(await rig.engine.adopt(gone.machine.handle, untilDone)).toBeUndefined()
    const { handle } = running.machine
    expect(await rig.engine.adopt({ ...handle, startTime: handle.startTime + 1 }, untilDone)).toBeUndefined()
    sendSignal(handle, 'SIGKILL')
    expect((await again.exited).reason).toBe('vmm_died')
    await Promise.all([woken.kill(), above.kill()])
  })
}

function failures(bench: () => Bench): void {
  it('leaves nothing behind when a restore is aborted', async () => {
    const { rig, template } = bench()
    for (const afterMs of [0, 5, 20]) {
      const place = await rig.place()
      const controller = new AbortController()
      if (afterMs === 0) controller.abort()
      else setTimeout(() => controller.abort(), afterMs)
      // It may win the race; then it is a machine like any other.
      const machine = await rig.engine.restore(template.snapshot, place, controller.signal).catch(() => undefined)
      if (afterMs === 0) expect(machine).toBeUndefined()
      await machine?.kill()
      expect(await processesIn(place)).toEqual([])
    }
  })

  const damages: [string, (snapshot: Snapshot) => Promise<void>][] = [
    ['a truncated state', async ({ state }) => truncate(state, Math.floor((await stat(state)).size / 2))],
    ['an empty state', ({ state }) => truncate(state, 0)],
    ['an empty memory', ({ memory }) => truncate(memory, 0)],
    ['a short memory', async ({ memory }) => truncate(memory, (await stat(memory)).size - 4096)],
    ['a missing memory', ({ memory }) => rm(memory)],
    ['a missing disk', ({ disks }) => rm(disks.at(-1) ?? '')],
  ]
  it.each(damages)('refuses %s and leaves nothing behind', async (_what, damage) => {
    const { rig, template } = bench()
    const folder = await rig.folder()
    const copy = async (path: string) => {
      const to = join(folder, path.split('/').at(-1) ?? '')
      // Only small files are copied: a memory file is replaced by a sparse one of its size.
      if ((await stat(path)).size < 1_000_000) await copyFile(path, to)
      else await rm(to, { force: true }).then(() => sparse(to, path))
      return to
    }
    const snapshot: Snapshot = {
      ...template.snapshot,
      memory: await copy(template.snapshot.memory),
      state: await copy(template.snapshot.state),
      disks: await Promise.all(template.snapshot.disks.map(copy)),
    }
    await damage(snapshot)
    const place = await rig.place()
    await expect(rig.engine.restore(snapshot, place, untilDone)).rejects.toThrow(EngineError)
    expect(await processesIn(place)).toEqual([])
  })
}

/** What `snapshots/seal.ts` does to files, as far as an engine can tell: nobody may write them, everybody read. */
async function seal(folder: string, saved: Saved): Promise<Snapshot> {
  for (const name of await readdir(folder)) {
    if (process.getuid?.() === 0) await chown(join(folder, name), 0, 0)
    await chmod(join(folder, name), 0o444)
  }
  return {
    snapshotID: folder.split('/').at(-1) ?? '',
    memory: join(folder, 'memory'),
    state: join(folder, 'state'),
    disks: saved.disks.map((disk) => join(folder, disk.name)),
    world: saved.world,
  }
}

async function sparse(to: string, like: string): Promise<void> {
  await copyFile('/dev/null', to)
  await truncate(to, (await stat(like)).size)
  await chmod(to, 0o644)
}

async function hashes(folder: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const name of (await readdir(folder)).toSorted()) {
    const hash = createHash('sha256')
    await pipeline(createReadStream(join(folder, name), { highWaterMark: 1_048_576 }), hash)
    found[name] = `${(await lstat(join(folder, name))).ino} ${hash.digest('hex')}`
  }
  return found
}

/** Numbers of the 2 MiB chunks in which two files of one size differ. */
async function differingChunks(one: string, two: string): Promise<number[]> {
  const chunkHashes = async (path: string) => {
    const found: string[] = []
    for await (const chunk of createReadStream(path, { highWaterMark: 2_097_152 })) {
      found.push(
        createHash('sha256')
          .update(chunk as Buffer)
          .digest('hex'),
      )
    }
    return found
  }
  const [left, right] = [await chunkHashes(one), await chunkHashes(two)]
  return right.flatMap((hash, index) => (hash === left[index] ? [] : [index]))
}

/** Pids of the processes that work in a machine's folder. */
async function processesIn(place: Place): Promise<number[]> {
  const found: number[] = []
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue
    const folder = await readlink(`/proc/${pid}/cwd`).catch(() => '')
    if (folder === place.folder || folder.startsWith(`${place.folder}/`)) found.push(Number(pid))
  }
  return found
}
