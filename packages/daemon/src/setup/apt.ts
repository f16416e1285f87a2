// What set-up asks of apt and dpkg. dpkg is never interrupted: what it began runs to its end even when set-up is killed, and
// the next run waits for its lock.
import { mkdir, readFile, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { CommandError } from '@lelantos-ai/worker/host/command'
import { command } from './program.ts'

export interface Release {
  /** `debian` */
  readonly id: string
  /** `12` */
  readonly version: string
  /** `bookworm` */
  readonly codename: string
}

const ENV = { DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C.UTF-8' }
const OPTIONS = ['-q', '-o', 'DPkg::Lock::Timeout=300', '-o', 'Acquire::Retries=2']

/** Reads /etc/os-release. */
export async function readRelease(file = '/etc/os-release'): Promise<Release> {
  const text = await readFile(file, 'utf8')
  const field = (name: string): string => new RegExp(`^${name}="?([^"\n]*)"?$`, 'm').exec(text)?.[1] ?? ''
  return { id: field('ID'), version: field('VERSION_ID'), codename: field('VERSION_CODENAME') }
}

/** Which of the packages are not installed. */
export async function missingPackages(packages: readonly string[]): Promise<string[]> {
  const versions = await installedVersions(packages)
  return packages.filter((name) => !versions.has(name))
}

/** The versions of those that are installed, wholly. */
export async function installedVersions(packages: readonly string[]): Promise<Map<string, string>> {
  const format = '${Package} ${db:Status-Abbrev} ${Version}\n'
  const listed = await command(['dpkg-query', '-W', '-f', format, ...packages]).catch((error: unknown) => {
    if (error instanceof CommandError) return error.stdout // exit 1: some are unknown; the others are listed all the same
    throw error
  })
  const versions = new Map<string, string>()
  for (const line of listed.split('\n')) {
    const match = /^(\S+) ii\s+(\S+)$/.exec(line.trim())
    if (match !== null) versions.set(match[1] ?? '', match[2] ?? '')
  }
  return versions
}

/** Installs packages without what they merely recommend. Rejects with an error that names them and the way out. */
export async function installPackages(packages: readonly string[], signal: AbortSignal): Promise<void> {
  if (packages.length === 0) return
  await repairDpkg(signal)
  const install = [
    'apt-get',
    ...OPTIONS,
    '-y',
    '--no-install-recommends',
    '-o',
    'Dpkg::Options::=--force-confold',
    'install',
  ]
  const attempt = (): Promise<string> => command([...install, ...packages], { env: ENV, signal, fate: 'finishes' })
  try {
    if (await listsAreFresh()) {
      // Lists may be older than what the mirror holds now: then one update is the cure.
      await attempt().catch(async () => {
        await updateLists(signal)
        await attempt()
      })
    } else {
      await updateLists(signal)
      await attempt()
    }
  } catch (error) {
    const hint = 'run this by hand to see why: apt-get update && apt-get install --no-install-recommends'
    throw new Error(`apt cannot install ${packages.join(', ')} (${hint} ${packages.join(' ')})`, { cause: error })
  }
}

/** `apt-get update`, of one file of `sources.list.d` if given. Rejects with an error that says what to look at. */
export async function updateLists(signal: AbortSignal, only?: string): Promise<void> {
  const part = ['Dir::Etc::sourceparts=-', 'APT::Get::List-Cleanup=0'].flatMap((option) => ['-o', option])
  const narrowed = only === undefined ? [] : ['-o', `Dir::Etc::sourcelist=sources.list.d/${only}`, ...part]
  try {
    await command(['apt-get', ...OPTIONS, '-o', 'APT::Update::Error-Mode=any', ...narrowed, 'update'], {
      env: ENV,
      signal,
    })
  } catch (error) {
    throw new Error("apt cannot read the package lists: check this machine's network and /etc/apt/sources.list*", {
      cause: error,
    })
  }
}

/** What a package of the repositories depends on, by name. */
export async function depends(name: string): Promise<string[]> {
  const listed = await command(['apt-cache', 'depends', '--important', name], { env: ENV }).catch(() => '')
  return [...listed.matchAll(/^ *\|?Depends: (\S+)/gm)].map((match) => match[1] ?? '')
}

/** Downloads a package and says where its file is. */
export async function downloadPackage(name: string, folder: string, signal: AbortSignal): Promise<string> {
  await mkdir(folder, { recursive: true })
  const options = [...OPTIONS, '-o', 'APT::Sandbox::User=root']
  await command(['apt-get', ...options, 'download', name], { cwd: folder, env: ENV, signal })
  const file = (await readdir(folder)).find((entry) => entry.endsWith('.deb'))
  if (file === undefined) throw new Error(`apt downloaded no file for ${name}`)
  return join(folder, file)
}

/** apt's configuration of how it reaches mirrors, which a chroot of its own would not know: `Acquire::http::Proxy "...";` */
export async function acquireSettings(): Promise<string[]> {
  const dump = await command(['apt-config', 'dump'], { env: ENV })
  return dump
    .split('\n')
    .filter((line) => /^Acquire::(https?::(Proxy|Verify)|Check-Valid-Until|Check-Date|ForceIPv4)\b.* ".+";$/.test(line))
}

async function repairDpkg(signal: AbortSignal): Promise<void> {
  const unfinished = await readdir('/var/lib/dpkg/updates').catch(() => [])
  const half = await command(['dpkg', '--audit'], { env: ENV }).catch(() => 'unreadable')
  if (unfinished.length > 0 || half.trim() !== '')
    await command(['dpkg', '--configure', '-a', '--force-confold'], { env: ENV, signal, fate: 'finishes' })
}

const FRESH_MS = 12 * 3600 * 1000

async function listsAreFresh(): Promise<boolean> {
  const folder = '/var/lib/apt/lists'
  const names = await readdir(folder).catch(() => [])
  const lists = names.filter((name) => name.includes('_Packages'))
  if (lists.length === 0) return false
  const times = await Promise.all(lists.map(async (name) => (await stat(join(folder, name))).mtimeMs))
  // A list's time is the mirror's; the folder's is that of the last update.
  return Date.now() - Math.max(...times, (await stat(folder)).mtimeMs) < FRESH_MS
}
