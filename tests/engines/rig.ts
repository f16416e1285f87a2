// What the engine suite needs of a real host: a volume with reflink, network slots, a kernel from set-up, and a guest of
// its own (`guest/`), which boots in seconds and answers what the suite asks.
import { chown, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLog } from '@lelantos-ai/contract'
import type { Probe, Rig } from '@lelantos-ai/worker/engines/conformance'
import type { BootSpec, Place } from '@lelantos-ai/worker/engines/engine'
import { openQemu, type QemuEngine, type QemuOptions } from '@lelantos-ai/worker/engines/qemu/qemu'
import { command } from '@lelantos-ai/worker/host/command'
import { tscKHz } from '@lelantos-ai/worker/host/tsc'
import { guestInitramfs } from '@lelantos-ai/worker/images/initramfs'
import { openVolume } from '@lelantos-ai/worker/volume/open'
import { moduleFiles } from '../../packages/daemon/src/setup/modules.ts'
import { goSettings } from '../../packages/daemon/src/setup/setup.ts'
import { testSlot } from './slots.ts'

const deadlineMs = 300_000
/** Users of the VMMs, from here on; nobody's on a Debian. */
const UID_BASE = 611_000
const PORT = 49_983

export const shape = { cpuCount: 2, memoryMB: 256, diskSizeMB: 512 }

export interface QemuRig extends Rig {
  readonly root: string
  engine: QemuEngine
  /** Places whose VMM must write its pid into these files. */
  place(cgroups?: readonly string[]): Promise<Place>
  open(change: Partial<QemuOptions>): Promise<QemuEngine>
}

export async function qemuRig(): Promise<QemuRig> {
  await using undo = new AsyncDisposableStack()
  const home = await mkdtemp(join(tmpdir(), 'lelantos-engines-'))
  undo.defer(() => rm(home, { recursive: true, force: true }))
  const options = { folder: join(home, 'vm'), image: join(home, 'vm.xfs'), sizeBytes: 8 * 2 ** 30, reserveBytes: 0 }
  const volume = await openVolume({ ...options, log: silentLog })
  undo.defer(() => volume.close())
  const { root } = volume
  const { kernel, initramfs } = await guestFiles(root)
  const open = (change: Partial<QemuOptions> = {}) =>
    openQemu({
      accelerator: 'tcg',
      tscKHz: tscKHz(),
      folder: join(root, 'engines'),
      clone: (from, to) => volume.clone(from, to),
      room: () => volume.room(),
      ...change,
    })
  let engine = await open()
  undo.defer(() => engine[Symbol.dispose]())
  let count = 0
  let slotCount = 0
  const fresh = async (kind: string) => {
    const folder = join(root, `${kind}${count++}`)
    await mkdir(folder, { mode: 0o700 })
    return folder
  }
  const slots = undo.use(new AsyncDisposableStack())
  const close = undo.move()
  return {
    root,
    open,
    get engine() {
      return engine
    },
    reopen: async () => {
      engine[Symbol.dispose]()
      engine = await open()
    },
    place: async (cgroups = []) => {
      const index = slotCount++
      const folder = await fresh('machine')
      const slot = slots.use(await testSlot(index, UID_BASE + index))
      await chown(folder, slot.uid, slot.uid)
      return { machineID: folder.split('/').at(-1) ?? '', folder, slot, cgroups, shape }
    },
    bootSpec: async (place): Promise<BootSpec> => {
      const disk = join(await fresh('image'), 'disk.raw')
      await writeFile(disk, '')
      await truncate(disk, shape.diskSizeMB * 1_048_576)
      await command('mke2fs', ['-q', '-F', '-t', 'ext4', disk], { deadlineMs })
      return { ...place, kernel, initramfs, disk, consoleLog: join(place.folder, 'console.log') }
    },
    folder: () => fresh('saved'),
    probe,
    [Symbol.asyncDispose]: () => close.disposeAsync(),
  }
}

/** The kernel that set-up has made, and an initramfs with the suite's guest. */
async function guestFiles(root: string): Promise<{ kernel: string; initramfs: string }> {
  const home = process.env['LELANTOS_HOME'] ?? '/var/lib/lelantos'
  const artifacts = process.env['LELANTOS_ARTIFACTS'] ?? join(home, 'artifacts')
  const folders = (await readdir(artifacts)).filter((name) => name.startsWith('kernel-'))
  const [folder] = folders.map((name) => join(artifacts, name))
  if (folder === undefined) throw new Error(`no kernel in ${artifacts}: run ./lelantos setup`)
  const [release = ''] = await readdir(join(folder, 'modules'))
  const modules = join(folder, 'modules', release)
  const wanted = await moduleFiles(modules, ['virtio_mmio', 'virtio_blk', 'virtio_net', 'virtio_rng'])
  const init = join(root, 'guest-init')
  const args = ['build', '-trimpath', '-buildvcs=false', '-ldflags=-s -w', '-o', init, '.']
  const go = await goSettings({ home }).catch(
    () => ({ ...process.env, GOTOOLCHAIN: 'local' }) as Record<string, string>,
  )
  await command('go', args, { deadlineMs, cwd: join(import.meta.dirname, 'guest'), env: { ...go, CGO_ENABLED: '0' } })
  const loaded = wanted.map(async (path) => ({
    file: path.split('/').at(-1) ?? '',
    content: await readFile(join(modules, path)),
  }))
  const initramfs = join(root, 'initramfs')
  await writeFile(initramfs, guestInitramfs({ init: await readFile(init), modules: await Promise.all(loaded) }))
  return { kernel: join(folder, 'vmlinux'), initramfs }
}

const REMEMBERED_BYTES = 2_000_000

const probe: Probe = {
  ready: async (place) => void (await ask(place, 'GET', '/health')),
  counter: async (place) => Number(await ask(place, 'GET', '/counter')),
  remember: (place) => ask(place, 'POST', `/memory?bytes=${REMEMBERED_BYTES}`),
  recall: (place) => ask(place, 'GET', '/memory'),
  write: (place, name, bytes) => ask(place, 'POST', `/file?name=${name}&bytes=${bytes}`),
  hash: (place, name) => ask(place, 'GET', `/file?name=${name}`),
  powerOff: (place) => lastWord(place, '/poweroff'),
  reboot: (place) => lastWord(place, '/reboot'),
}

/** Asks until the guest answers: connections made before it is up are lost. */
async function ask(place: Place, method: 'GET' | 'POST', path: string): Promise<string> {
  const url = `http://${place.slot.address}:${PORT}`
  const deadline = Date.now() + 60_000
  for (;;) {
    try {
      await (await fetch(`${url}/health`, { signal: AbortSignal.timeout(200) })).arrayBuffer()
      break
    } catch (error) {
      if (Date.now() > deadline) throw error
      await new Promise<void>((resolve) => setTimeout(resolve, 5))
    }
  }
  const reply = await fetch(`${url}${path}`, { method, signal: AbortSignal.timeout(60_000) })
  return reply.text()
}

/** A guest that ends does not answer. */
async function lastWord(place: Place, path: string): Promise<void> {
  const url = `http://${place.slot.address}:${PORT}${path}`
  await fetch(url, { method: 'POST', signal: AbortSignal.timeout(2000) }).catch(() => {})
}
