// A real host for a worker: volume, slots, cgroups, snapshots and QEMU of an installation of the test's own, which are
// gone afterwards. Kernel, guest daemon and base image are those that set-up has made.
import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { envdAccessToken, limits, ports, silentLog } from '@lelantos-ai/contract'
import { openQemu } from '@lelantos-ai/worker/engines/qemu/qemu'
import { httpGuest } from '@lelantos-ai/worker/guest/http-guest'
import { openCgroups } from '@lelantos-ai/worker/host/cgroups'
import { tscKHz } from '@lelantos-ai/worker/host/tsc'
import type { Ports } from '@lelantos-ai/worker/node'
import { openSlots } from '@lelantos-ai/worker/net/slots'
import { chooseSubnet } from '@lelantos-ai/worker/net/subnet'
import { openSnapshots } from '@lelantos-ai/worker/snapshots/open'
import { buildOf, type TemplateSource } from '@lelantos-ai/worker/templates'
import { openVolume } from '@lelantos-ai/worker/volume/open'

const UID_BASE = 631_000

export interface RealHost extends AsyncDisposable {
  readonly home: string
  readonly installation: string
  readonly installationKey: Uint8Array
  readonly template: TemplateSource
  /** The parts as a worker process opens them; `inUse` are slots that an earlier one has left. */
  open(inUse: readonly number[]): Promise<Ports & { close(): Promise<void> }>
}

export async function realHost(): Promise<RealHost> {
  const home = await mkdtemp(join(tmpdir(), 'lelantos-worker-'))
  const installation = randomBytes(3).toString('hex')
  const installationKey = randomBytes(32)
  const subnet = await chooseSubnet({ installation })
  const volumeOptions = {
    folder: join(home, 'vm'),
    image: join(home, 'vm.xfs'),
    sizeBytes: 12 * 2 ** 30,
    reserveBytes: 0,
  }
  const template = await templateSource()
  return {
    home,
    installation,
    installationKey,
    template,
    open: async (inUse) => {
      const undo = new AsyncDisposableStack()
      const log = silentLog
      const volume = await openVolume({ ...volumeOptions, log })
      const { root } = volume
      const cgroups = undo.use(await openCgroups({ installation }))
      const snapshots = undo.use(await openSnapshots({ root, installationKey, log }))
      const engine = undo.use(
        await openQemu({
          accelerator: 'tcg',
          tscKHz: tscKHz(),
          folder: join(root, 'engines'),
          clone: (from, to) => volume.clone(from, to),
          room: () => volume.room(),
        }),
      )
      const slots = await openSlots({ installation, subnet, uidBase: UID_BASE, size: 16, idle: 2, inUse, log })
      undo.defer(() => slots.close({ keep: true }))
      return { engine, slots, volume, snapshots, cgroups, guest: httpGuest, close: () => undo.disposeAsync() }
    },
    [Symbol.asyncDispose]: async () => {
      const slots = await openSlots({ installation, subnet, uidBase: UID_BASE, size: 16, idle: 0, log: silentLog })
      await slots.close({ keep: false })
      const volume = await openVolume({ ...volumeOptions, log: silentLog })
      await volume.close()
      await rm(home, { recursive: true, force: true })
      // The claim on the subnet; nobody else writes into one that is taken.
      await rm(join('/run/lelantos/subnets', subnet.replace('/16', '')), { force: true })
    },
  }
}

async function templateSource(): Promise<TemplateSource> {
  const home = process.env['LELANTOS_HOME'] ?? '/var/lib/lelantos'
  const artifacts = process.env['LELANTOS_ARTIFACTS'] ?? join(home, 'artifacts')
  const kernel = await newest(artifacts, 'kernel-')
  const initramfs = await newest(artifacts, 'initramfs-')
  const image = await newest(artifacts, 'base-')
  const source = {
    name: 'base',
    shape: { cpuCount: limits.cpuCount.default, memoryMB: limits.memoryMB.default, diskSizeMB: limits.diskSizeMB },
    madeWith: { kernel, guest: initramfs, image },
    kernel: join(artifacts, kernel, 'vmlinux'),
    initramfs: join(artifacts, initramfs, 'initramfs.cpio'),
    image: join(artifacts, image, 'base.ext4'),
  }
  return { ...source, buildID: buildOf(source) }
}

async function newest(artifacts: string, prefix: string): Promise<string> {
  const names = (await readdir(artifacts)).filter((name) => name.startsWith(prefix))
  const times = await Promise.all(
    names.map(async (name) => ({ name, at: (await stat(join(artifacts, name))).mtimeMs })),
  )
  const [first] = times.sort((left, right) => right.at - left.at)
  if (first === undefined) throw new Error(`no ${prefix}* in ${artifacts}: run ./lelantos setup`)
  return first.name
}

/** Runs a command in a guest by its daemon's `/rpc`. */
export async function exec(
  host: RealHost,
  { address, sandboxID }: { address: string; sandboxID: string },
  cmd: string,
): Promise<{ stdout: string; stderr: string; exitCode: number }> {
  const body = JSON.stringify({ method: 'exec', params: { cmd } })
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host: address,
        port: ports.envd,
        method: 'POST',
        path: '/rpc',
        agent: false,
        timeout: 30_000,
        headers: {
          'content-type': 'application/json',
          'x-access-token': envdAccessToken(host.installationKey, sandboxID),
        },
      },
      (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (part: string) => (text += part))
        response.on('end', () => {
          if (response.statusCode === 200) resolve(JSON.parse(text) as never)
          else reject(new Error(`${response.statusCode}: ${text}`))
        })
      },
    )
    sent.on('timeout', () => sent.destroy(new Error(`no reply to ${cmd}`)))
    sent.on('error', reject)
    sent.end(body)
  })
}

/** Memory that is a process's own, in MB: shared pages in proportion. */
export async function pssMB(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8')
  return Math.round(Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? 0) / 1024)
}
