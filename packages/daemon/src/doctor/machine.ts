// What a machine must have, whatever is installed: rights, release, memory, disk.
import { readFile, stat, statfs } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { dirname } from 'node:path'
import { readRelease } from '../setup/apt.ts'
import { type Finding, missing, ok, warning } from './finding.ts'

const GiB = 1024 ** 3

export function checkRoot(): Finding {
  if (process.getuid?.() === 0) return ok('root', 'yes')
  return missing('root', 'making virtual machines needs root', 'sudo ./lelantos doctor')
}

export function checkProcessor(): Finding {
  if (process.arch === 'x64') return ok('processor', 'x86-64')
  return missing('processor', `only x86-64 is supported so far, this is ${process.arch}`)
}

/** Set-up was run on these releases of Debian; of others nothing is known. */
const TESTED = ['12']

export async function checkRelease(): Promise<Finding> {
  const { id, version, codename } = await readRelease().catch(() => ({ id: 'unknown', version: '', codename: '' }))
  const name = `${id} ${version}${codename === '' ? '' : ` (${codename})`}`
  if (id === 'debian' && TESTED.includes(version)) return ok('release', name)
  if (id === 'debian' && Number(version) > 12)
    return warning('release', `${name} is untested: Debian 12 is what was tried`)
  return warning('release', `${name} is untested: packages are named as in Debian 12`)
}

export function checkMemory(): Finding {
  const total = totalmem()
  const text = `${(total / GiB).toFixed(1)} GiB`
  if (total < 1.8 * GiB) return missing('memory', `${text}, and 2 GiB is the least`)
  if (total < 3.5 * GiB) return warning('memory', `${text} holds two or three sandboxes of 512 MB`)
  return ok('memory', text)
}

/** A first set-up writes 3 GiB; the rest is for sandboxes. */
export async function checkDisk(home: string): Promise<Finding> {
  const { bavail, bsize } = await statfs(await existing(home))
  const text = `${((bavail * bsize) / GiB).toFixed(1)} GiB free for ${home}`
  if (bavail * bsize < 6 * GiB)
    return missing('disk', `${text}, and 6 GiB is the least: free some, or set LELANTOS_HOME`)
  if (bavail * bsize < 20 * GiB) return warning('disk', `${text}: paused sandboxes and snapshots will fill it`)
  return ok('disk', text)
}

/** The nearest folder above that is there. */
export async function existing(path: string): Promise<string> {
  for (let folder = path; ; folder = dirname(folder)) {
    const found = await stat(folder).then(
      (stats) => stats.isDirectory(),
      () => false,
    )
    if (found || folder === '/') return folder
  }
}

export async function checkCgroups(): Promise<Finding> {
  const wanted = ['cpu', 'memory', 'pids']
  const unified = await readFile('/sys/fs/cgroup/cgroup.controllers', 'utf8').catch(() => undefined)
  if (unified !== undefined) {
    const lacking = wanted.filter((controller) => !unified.trim().split(' ').includes(controller))
    if (lacking.length === 0) return ok('cgroups', 'version 2')
    return warning('cgroups', `version 2 without ${lacking.join(', ')}: a sandbox's use of them is not limited`)
  }
  const mounts = await readFile('/proc/mounts', 'utf8')
  const lacking = wanted.filter(
    (controller) => !new RegExp(`^\\S+ \\S+ cgroup \\S*\\b${controller}\\b`, 'm').test(mounts),
  )
  if (lacking.length === 0) return ok('cgroups', 'version 1')
  const how = lacking.length === wanted.length ? 'are not mounted' : `version 1 without ${lacking.join(', ')}`
  return warning('cgroups', `${how}: a sandbox's use of memory and processor is not limited from outside`)
}
