// What set-up installs from the distribution, in two parts so that building may begin while the rest is installed. Nothing
// that the host has is changed, save QEMU where it is too old.
import { lstat, mkdir, readdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { installPackages, installedVersions, missingPackages, readRelease, updateLists } from './apt.ts'
import { readSources } from './apt-sources.ts'
import { hashOf } from './artifact.ts'
import type { Step } from './steps.ts'

/** For making images and the guest daemon. */
const BUILDING = ['ca-certificates', 'e2fsprogs', 'kmod', 'mmdebstrap', 'python3-venv']
/** For running: QEMU, the private PostgreSQL and NATS, the network, the VM volume. */
const RUNNING = ['iproute2', 'mount', 'nats-server', 'nftables', 'qemu-system-x86', 'qemu-utils', 'xfsprogs']

/** The least that works as it should: an older one translates every exec anew and opens a template's memory for writing. */
const QEMU_MAJOR = 10

export function toolsStep(): Step {
  return packagesStep('tools', BUILDING, [], async () => {})
}

export function packagesStep(
  name = 'packages',
  packages = RUNNING,
  after = ['tools'],
  prepare: (signal: AbortSignal) => Promise<void> = prepareRunning,
): Step {
  const complete = name === 'packages' ? runningComplete : async () => (await missingPackages(packages)).length === 0
  return {
    name,
    after,
    inputs: async () => hashOf(name, ...packages, (await readRelease()).codename),
    present: complete,
    run: async ({ signal, note }) => {
      if (await complete()) return 'installed before'
      await prepare(signal)
      const missing = await missingPackages(packages)
      if (packages === RUNNING) missing.push(...(await qemuTooOld()), ...(await postgresMissing()))
      note(`${missing.length} packages and what they need`)
      await installPackages([...new Set(missing)], signal)
      return missing.join(' ')
    },
  }
}

async function runningComplete(): Promise<boolean> {
  const missing = await missingPackages(RUNNING)
  return missing.length + (await postgresMissing()).length + (await qemuTooOld()).length === 0
}

async function prepareRunning(signal: AbortSignal): Promise<void> {
  const release = await readRelease()
  if (release.codename === 'bookworm' && (await qemuWanted())) await addBackports(release.codename, signal)
  if ((await postgresMissing()).length > 0) await withoutMainCluster()
  if ((await missingPackages(['nats-server'])).length > 0) await withoutUnit('nats-server.service')
}

/** Any version of the server will do; the metapackage is only asked for where there is none. */
async function postgresMissing(): Promise<string[]> {
  const versions = await readdir('/usr/lib/postgresql').catch(() => [])
  const servers = await Promise.all(versions.map((version) => exists(`/usr/lib/postgresql/${version}/bin/initdb`)))
  return servers.includes(true) ? [] : ['postgresql']
}

async function qemuVersion(): Promise<number | undefined> {
  const version = (await installedVersions(['qemu-system-x86'])).get('qemu-system-x86')
  const major = /^(?:\d+:)?(\d+)\./.exec(version ?? '')?.[1]
  return major === undefined ? undefined : Number(major)
}

async function qemuWanted(): Promise<boolean> {
  return ((await qemuVersion()) ?? 0) < QEMU_MAJOR
}

/** Only Debian 12 has an older one and a newer beside it. */
async function qemuTooOld(): Promise<string[]> {
  const version = await qemuVersion()
  if (version === undefined || version >= QEMU_MAJOR || (await readRelease()).codename !== 'bookworm') return []
  return ['qemu-system-x86', 'qemu-utils']
}

/**
 * Lets apt take QEMU from backports, on the mirror that the release comes from. Where the machine has backports already, its
 * source is used, and other packages keep the priority that they have.
 */
async function addBackports(codename: string, signal: AbortSignal): Promise<void> {
  const suite = `${codename}-backports`
  const sources = await readSources()
  const configured = sources.some((source) => source.suite === suite && source.components.includes('main'))
  if (!configured) {
    await writeFile('/etc/apt/sources.list.d/lelantos.sources', backportsSource(sources, codename))
  }
  await writeFile('/etc/apt/preferences.d/lelantos', backportsPin(suite, configured ? 'used' : 'added'))
  await updateLists(signal, configured ? undefined : 'lelantos.sources')
}

/** A stanza for backports on the mirror that the release itself comes from. */
export function backportsSource(sources: Awaited<ReturnType<typeof readSources>>, codename: string): string {
  const own = sources.find((source) => source.suite === codename && source.components.includes('main'))
  if (own === undefined)
    throw new Error(`no source of ${codename} main in /etc/apt/sources.list or /etc/apt/sources.list.d`)
  const options = Object.entries(own.options).map(([name, value]) => `${name}: ${value}\n`)
  return `Types: deb\nURIs: ${own.uri}\nSuites: ${codename}-backports\nComponents: main\n${options.join('')}`
}

/** QEMU needs the newer seabios; nothing else may come from backports because of us. */
export function backportsPin(suite: string, backports: 'added' | 'used'): string {
  const others = `Package: *\nPin: release n=${suite}\nPin-Priority: 1\n\n`
  const qemu = `Package: qemu-* seabios ipxe-qemu\nPin: release n=${suite}\nPin-Priority: 500\n`
  return backports === 'added' ? others + qemu : qemu
}

/** The distribution's own cluster is of no use to Lelantos: where PostgreSQL was not installed before, none is made. */
async function withoutMainCluster(): Promise<void> {
  const file = '/etc/postgresql-common/createcluster.conf'
  if (await exists(file)) return
  await mkdir('/etc/postgresql-common', { recursive: true })
  await writeFile(
    file,
    '# Lelantos runs a PostgreSQL of its own; remove this line to get the usual cluster.\ncreate_main_cluster = false\n',
  )
}

/** The package starts a server of its own when it is installed, open to the machine: a masked unit is not started. */
async function withoutUnit(unit: string): Promise<void> {
  const path = join('/etc/systemd/system', unit)
  await mkdir('/etc/systemd/system', { recursive: true })
  await symlink('/dev/null', path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  )
}
