// The engine `qemu` on real VMs: the suite of every engine, and what is QEMU's alone. Needs root, QEMU, and set-up's kernel.
import { execFileSync } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, statfs, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { limits } from '@lelantos-ai/contract'
import { engineConformance } from '@lelantos-ai/worker/engines/conformance'
import type { Running, Snapshot } from '@lelantos-ai/worker/engines/engine'
import { clone } from '@lelantos-ai/worker/volume/clone'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type QemuRig, qemuRig, shape } from './rig.ts'

engineConformance('qemu', qemuRig)

const untilDone = new AbortController().signal

describe('qemu', () => {
  let rig: QemuRig
  let template: Snapshot
  const machines: Running[] = []

  beforeAll(async () => {
    rig = await qemuRig()
    const place = await rig.place()
    const machine = await rig.engine.boot(await rig.bootSpec(place), untilDone)
    machines.push(machine)
    await rig.probe.ready(place)
    const stopped = await machine.stop()
    template = await sealed(await rig.folder(), (folder) => stopped.save(folder, { memory: true }))
    expect(await readFile(join(place.folder, 'console.log'), 'utf8')).toContain('SeaBIOS')
    await stopped.kill()
  })
  afterAll(async () => {
    await Promise.allSettled(machines.map((machine) => machine.kill()))
    await rig?.[Symbol.asyncDispose]()
  })

  const running = async (engine = rig.engine, snapshot = template, place = rig.place()) => {
    const at = await place
    const machine = await (await engine.restore(snapshot, at, untilDone)).run()
    machines.push(machine)
    await rig.probe.ready(at)
    return { place: at, machine }
  }

  it('runs as the user of its slot, without any right, in its cgroups', async () => {
    const cgroup = await rig.folder()
    await writeFile(join(cgroup, 'cgroup.procs'), '')
    const { place, machine } = await running(rig.engine, template, rig.place([cgroup]))
    const { pid } = machine.handle
    expect(await readFile(join(cgroup, 'cgroup.procs'), 'utf8')).toBe(`${pid}\n`)
    const status = await readFile(`/proc/${pid}/status`, 'utf8')
    const of = (field: string) => new RegExp(`^${field}:[ \\t]*(.*?) *$`, 'm').exec(status)?.[1]
    const { uid } = place.slot
    expect(of('Uid')).toBe(`${uid}\t${uid}\t${uid}\t${uid}`)
    expect(of('Gid')).toBe(`${uid}\t${uid}\t${uid}\t${uid}`)
    expect(of('Groups')).toBe('')
    for (const set of ['CapEff', 'CapPrm', 'CapInh', 'CapBnd', 'CapAmb']) expect(of(set)).toBe('0000000000000000')
    expect(of('NoNewPrivs')).toBe('1')
    expect(of('Seccomp')).toBe('2')
    expect(await readFile(`/proc/${pid}/oom_score_adj`, 'utf8')).toBe('500\n')
    // The folder is root's: the VMM can neither add a name to it nor remove one.
    const folder = await stat(place.folder)
    expect([folder.uid, folder.gid, folder.mode & 0o777]).toEqual([0, uid, 0o710])
    await machine.kill()
  })

  it('says what QEMU said when a state does not load', async () => {
    const folder = await rig.folder()
    const state = join(folder, 'state')
    const whole = await readFile(template.state)
    await writeFile(state, whole.subarray(0, whole.length / 2))
    const restoring = rig.engine.restore({ ...template, state }, await rig.place(), untilDone)
    await expect(restoring).rejects.toThrow(/load of migration failed/)
  })

  it('bounds the disk of a machine that is saved again and again while it runs', async () => {
    const { place, machine } = await running()
    const file = await rig.probe.write(place, 'file', 3_000_000)
    let last = template
    let current = machine
    for (let round = 0; round < limits.diskChain + 2; round++) {
      await rig.probe.write(place, `round-${round}`, 500_000)
      const stopped = await current.stop()
      last = await sealed(await rig.folder(), (folder) => stopped.save(folder, { memory: true }))
      expect(last.disks.length - 1).toBeLessThanOrEqual(limits.diskChain)
      current = await stopped.run()
    }
    await machine.kill()
    const again = await running(rig.engine, last)
    expect(await rig.probe.hash(again.place, 'file')).toBe(file)
    await again.machine.kill()
  })

  it('stops a guest that fills the volume, and lets it go on when there is room', async () => {
    // Of ext4 it is known to the block what is free; XFS gives back what it had set aside when it runs short.
    const small = await mkdtemp(join(tmpdir(), 'lelantos-full-'))
    const root = join(small, 'vm')
    await mkdir(root)
    await writeFile(join(small, 'image'), '')
    await truncate(join(small, 'image'), 400 * 1_048_576)
    execFileSync('mke2fs', ['-q', '-F', '-t', 'ext4', '-m', '0', join(small, 'image')])
    execFileSync('mount', ['-o', 'loop', join(small, 'image'), root])
    let room = 0
    const full: string[] = []
    const engine = await rig.open({
      folder: join(root, 'engines'),
      clone: (from, to) => clone(from, to, false),
      room: async () => room,
      onDiskFull: (machineID) => full.push(machineID),
    })
    try {
      const snapshot = await copied(template, join(root, 'snapshot'))
      const place = { ...(await rig.place()), folder: join(root, 'machine') }
      for (const folder of [place.folder, join(root, 'saved')]) await mkdir(folder)
      const { machine } = await running(engine, snapshot, Promise.resolve(place))
      const { bavail, bsize } = await statfs(root)
      execFileSync('fallocate', ['-l', String(bavail * bsize - 10_000_000), join(root, 'filler')])
      const writing = rig.probe.write(place, 'large', 30_000_000)
      writing.catch(() => {})
      await expect.poll(() => full.length, { timeout: 60_000, interval: 10 }).toBeGreaterThan(0)
      expect(full[0]).toBe(place.machineID)

      // A save finds no room either; the machine stays what it is.
      const stopped = await machine.stop()
      await expect(stopped.save(join(root, 'saved'), { memory: true })).rejects.toThrow(/[Nn]o space/)
      expect(await readdir(join(root, 'saved'))).toEqual([])
      const again = await stopped.run()
      await rm(join(root, 'filler'))
      room = 1
      const hash = await writing
      expect(hash).toMatch(/^[0-9a-f]{64}$/)
      expect(await rig.probe.hash(place, 'large')).toBe(hash)
      await again.kill()
    } finally {
      engine[Symbol.dispose]()
      await Promise.allSettled(machines.map((machine) => machine.kill()))
      execFileSync('umount', [root])
      await rm(small, { recursive: true })
    }
  })

  it('saves and restores on a file system without reflink', async () => {
    const engine = await rig.open({ clone: (from, to) => clone(from, to, false) })
    const { place, machine } = await running(engine)
    const remembered = await rig.probe.remember(place)
    const stopped = await machine.stop()
    const snapshot = await sealed(await rig.folder(), (folder) => stopped.save(folder, { memory: true }))
    await stopped.kill()
    // Sparse: what the guest never touched takes no room.
    expect((await stat(snapshot.memory)).blocks * 512).toBeLessThan((shape.memoryMB * 1_048_576) / 2)
    const again = await running(engine, snapshot)
    expect(await rig.probe.recall(again.place)).toBe(remembered)
    await again.machine.kill()
    engine[Symbol.dispose]()
  })
})

/** A sealed copy on another file system. */
async function copied(snapshot: Snapshot, folder: string): Promise<Snapshot> {
  await mkdir(folder)
  const copy = async (path: string) => {
    const to = join(folder, basename(path))
    await clone(path, to, false)
    await chmod(to, 0o444)
    return to
  }
  const [memory, state] = [await copy(snapshot.memory), await copy(snapshot.state)]
  return { ...snapshot, memory, state, disks: await Promise.all(snapshot.disks.map(copy)) }
}

async function sealed(
  folder: string,
  save: (folder: string) => Promise<{ disks: readonly { name: string }[]; world: Snapshot['world'] }>,
): Promise<Snapshot> {
  const saved = await save(folder)
  const files = ['memory', 'state', ...saved.disks.map((disk) => disk.name)]
  execFileSync('chown', ['0:0', ...files], { cwd: folder })
  for (const file of files) await chmod(join(folder, file), 0o444)
  return {
    snapshotID: folder.split('/').at(-1) ?? '',
    memory: join(folder, 'memory'),
    state: join(folder, 'state'),
    disks: saved.disks.map((disk) => join(folder, disk.name)),
    world: saved.world,
  }
}
