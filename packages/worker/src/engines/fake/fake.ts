// An engine without VMs, for tests of all that stands above engines: each machine is a process that sleeps and a guest that
// is a file. It makes and reads the same kinds of file as a real one, passes the same suite, and has faults on demand.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { link, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { limits } from '@lelantos-ai/contract'
import { identify, killAndWait, type ProcessIdentity } from '../../host/process.ts'
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
import { type Fault, Faults, type Verb } from './faults.ts'
import { FakeGuest, type GuestState } from './guest.ts'
import { FakeMachine, readImage, type Kept } from './machine.ts'

export class FakeEngine implements Engine {
  readonly name = 'fake'
  readonly can: Capabilities = { overheadMB: limits.overheadMB.none, label: 'fake' }
  readonly faults = new Faults()

  world(shape: Shape): World {
    return { engine: this.name, version: '1', devices: 'none', accelerator: 'none', cpu: 'none', shape }
  }

  async boot(spec: BootSpec, signal: AbortSignal): Promise<Running> {
    const machine = await this.#start('boot', spec, signal, async () => {
      await link(spec.disk, join(spec.folder, 'disk-0.raw'))
      return { guest: { counted: 0, remembered: '', files: {} }, kept: { disks: ['disk-0.raw'], sealed: {} } }
    })
    return machine.start()
  }

  async restore(snapshot: Snapshot, place: Place, signal: AbortSignal): Promise<Stopped> {
    await verifyFiles(snapshot, place.shape)
    const machine = await this.#start('restore', place, signal, async () => {
      const state = await readFile(snapshot.state, 'utf8')
      if (!state.endsWith('.')) throw new EngineError(`the state of snapshot ${snapshot.snapshotID} does not load`)
      const memory = (await readImage(snapshot.memory)) as Pick<GuestState, 'counted' | 'remembered'>
      const files: Record<string, string> = {}
      for (const disk of snapshot.disks) Object.assign(files, await readImage(disk))
      const sealed: Record<string, string> = { memory: snapshot.memory }
      const disks = await Promise.all(
        snapshot.disks.map(async (disk, index) => {
          const name = `disk-${index}.${index === 0 ? 'raw' : 'qcow2'}`
          await link(disk, join(place.folder, name))
          sealed[name] = disk
          return name
        }),
      )
      const top = `disk-${disks.length}.qcow2`
      await writeFile(join(place.folder, top), '{}', { flag: 'wx' })
      return { guest: { ...memory, files }, kept: { disks: [...disks, top], sealed } }
    })
    return machine.stopped()
  }

  async adopt(handle: Handle, signal: AbortSignal): Promise<Running | Stopped | undefined> {
    signal.throwIfAborted()
    if (identify(handle.pid)?.startTime !== handle.startTime) return undefined
    await this.meet('adopt', handle, signal)
    const kept = JSON.parse(await readFile(join(handle.folder, 'kept.json'), 'utf8')) as Kept
    const { shape } = handle.private as { shape: Shape }
    const { running } = new FakeGuest(handle.folder).state()
    const machine = new FakeMachine(this, handle, this.world(shape), kept, running ? 'running' : 'stopped')
    return running ? machine.running() : machine.stopped()
  }

  /** Meets the fault that is due for this verb, if any. */
  async meet(verb: Verb, vmm: ProcessIdentity, signal: AbortSignal): Promise<void> {
    const fault = this.faults.take(verb)
    if (fault) await suffer(verb, fault, vmm, signal)
  }

  async #start(
    verb: 'boot' | 'restore',
    place: Place,
    signal: AbortSignal,
    layOut: () => Promise<{ guest: Pick<GuestState, 'counted' | 'remembered' | 'files'>; kept: Kept }>,
  ): Promise<FakeMachine> {
    signal.throwIfAborted()
    const { guest, kept } = await layOut()
    const child = spawn('sleep', ['infinity'], { cwd: place.folder, detached: true, stdio: 'ignore' })
    child.unref()
    await once(child, 'spawn')
    const vmm = identify(child.pid ?? 0)
    if (!vmm) throw new EngineError(`machine ${place.machineID} ended at once`)
    try {
      for (const cgroup of place.cgroups) await writeFile(join(cgroup, 'cgroup.procs'), String(vmm.pid))
      new FakeGuest(place.folder).change({ ...guest, vmm, running: false, at: 0 }, {})
      await this.meet(verb, vmm, signal)
      signal.throwIfAborted()
      const handle: Handle = {
        engine: this.name,
        machineID: place.machineID,
        ...vmm,
        folder: place.folder,
        private: { shape: place.shape },
      }
      const machine = new FakeMachine(this, handle, this.world(place.shape), kept, 'stopped')
      await machine.keep()
      return machine
    } catch (error) {
      await killAndWait(vmm)
      throw error
    }
  }
}

async function suffer(verb: Verb, fault: Fault, vmm: ProcessIdentity, signal: AbortSignal): Promise<void> {
  switch (fault.kind) {
    case 'slow':
      return pause(fault.ms, signal)
    case 'fail': {
      const cause = fault.code === undefined ? undefined : Object.assign(new Error(fault.code), { code: fault.code })
      throw new EngineError(fault.message, { cause })
    }
    case 'hang':
      while (identify(vmm.pid)?.startTime === vmm.startTime) await pause(5, signal)
      throw new EngineError(`${verb}: the machine ended`)
    case 'die':
      await killAndWait(vmm)
      throw new EngineError(`${verb}: the machine died`)
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  await new Promise<void>((resolve, reject) => {
    const onAbort = () => {
      clearTimeout(timer)
      reject(signal.reason as Error)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    }, ms)
    signal.addEventListener('abort', onAbort, { once: true })
  })
}
