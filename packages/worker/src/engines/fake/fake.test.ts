import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isAlive } from '../../host/process.ts'
import { engineConformance, type Rig } from '../conformance.ts'
import { EngineError, type Place } from '../engine.ts'
import { FakeEngine } from './fake.ts'
import { FakeGuest } from './guest.ts'

const shape = { cpuCount: 1, memoryMB: 8, diskSizeMB: 16 }
const untilDone = new AbortController().signal

async function fakeRig(): Promise<Rig & { engine: FakeEngine }> {
  const root = await mkdtemp(join(tmpdir(), 'lelantos-fake-'))
  let count = 0
  const fresh = async (kind: string) => {
    const folder = join(root, `${kind}${count++}`)
    await mkdir(folder)
    return folder
  }
  const guest = (place: Place) => new FakeGuest(place.folder)
  const rig = {
    engine: new FakeEngine(),
    reopen: async () => {
      rig.engine = new FakeEngine()
    },
    place: async () => {
      const folder = await fresh('machine')
      const slot = { index: count, netns: '', tap: '', address: '', uid: process.getuid?.() ?? 0 }
      return { machineID: folder.split('/').at(-1) ?? '', folder, slot, cgroups: [], shape }
    },
    bootSpec: async (place: Place) => {
      const disk = join(await fresh('image'), 'disk.raw')
      await writeFile(disk, Buffer.alloc(1_048_576))
      return { ...place, kernel: '', initramfs: '', disk }
    },
    folder: () => fresh('saved'),
    probe: {
      ready: async (place: Place) => void guest(place).counter(),
      counter: async (place: Place) => {
        const before = guest(place).counter()
        const deadline = Date.now() + 5000
        // A real guest takes a moment to answer, in which it counts.
        while (guest(place).counter() === before && Date.now() < deadline) await new Promise(setImmediate)
        return guest(place).counter()
      },
      remember: async (place: Place) => guest(place).remember(),
      recall: async (place: Place) => guest(place).recall(),
      write: async (place: Place, name: string) => guest(place).write(name),
      hash: async (place: Place, name: string) => guest(place).hash(name) ?? 'no such file',
      powerOff: async (place: Place) => guest(place).powerOff(),
      reboot: async (place: Place) => guest(place).reboot(),
    },
    [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }),
  }
  return rig
}

engineConformance('fake', fakeRig)

describe('faults of the fake', () => {
  let rig: Awaited<ReturnType<typeof fakeRig>>
  beforeAll(async () => {
    rig = await fakeRig()
  })
  afterAll(() => rig[Symbol.asyncDispose]())

  const boot = async (signal = untilDone) => rig.engine.boot(await rig.bootSpec(await rig.place()), signal)

  it('fail once, and the next call works', async () => {
    rig.engine.faults.inject('boot', { kind: 'fail', message: 'no luck' })
    await expect(boot()).rejects.toThrow('no luck')
    const machine = await boot()
    rig.engine.faults.inject('stop', { kind: 'fail', message: 'not now' })
    await expect(machine.stop()).rejects.toThrow('not now')
    const stopped = await machine.stop()
    rig.engine.faults.inject('save', { kind: 'fail', message: 'disk full', code: 'ENOSPC' })
    const error = await stopped.save(await rig.folder(), { memory: true }).catch((e: unknown) => e)
    expect(error).toBeInstanceOf(EngineError)
    expect((error as Error).cause).toMatchObject({ code: 'ENOSPC' })
    await (await stopped.run()).kill()
  })

  it('hang until they are aborted', async () => {
    rig.engine.faults.inject('boot', { kind: 'hang' })
    const controller = new AbortController()
    const booting = boot(controller.signal)
    setTimeout(() => controller.abort(), 20)
    await expect(booting).rejects.toThrow(/abort/)
  })

  it('hang until the machine ends', async () => {
    const machine = await boot()
    rig.engine.faults.inject('stop', { kind: 'hang' })
    const stopping = machine.stop()
    await machine.kill()
    await expect(stopping).rejects.toThrow(EngineError)
  })

  it('kill the machine in the middle', async () => {
    const machine = await boot()
    rig.engine.faults.inject('stop', { kind: 'die' })
    await expect(machine.stop()).rejects.toThrow(EngineError)
    expect((await machine.exited).reason).toBe('vmm_died')
    expect(isAlive(machine.handle)).toBe(false)
  })

  it('are slow', async () => {
    rig.engine.faults.inject('boot', { kind: 'slow', ms: 30 })
    const start = performance.now()
    const machine = await boot()
    expect(performance.now() - start).toBeGreaterThanOrEqual(29)
    await machine.kill()
  })
})
