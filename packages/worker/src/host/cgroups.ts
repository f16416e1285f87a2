// Cgroups of machines: a folder for each under one of the installation, in the unified hierarchy or, under version 1, in
// that of each controller. Sources: the kernel's admin-guide/cgroup-v2 and admin-guide/cgroup-v1.
//
//   v2   /sys/fs/cgroup/lelantos-<installation>/<machineID>
//   v1   /sys/fs/cgroup/{memory,pids,cpu,freezer}/lelantos-<installation>/<machineID>, as far as they are mounted
import { access, mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { INSTALLATION_PATTERN, MACHINE_PATTERN } from '@lelantos-ai/contract'

/** A cgroup per machine, named by it, under one folder of the installation. Works on v2 and on v1. */
export interface Cgroups {
  /** Makes it, with its limits, and says which folders a process must be written into (`cgroup.procs` of each). */
  create(machineID: string, limits: { memoryMB: number; processes: number }): Promise<readonly string[]>
  /** Kills what is in it and removes it. Idempotent. */
  remove(machineID: string): Promise<void>
  /** Every machine that has one, with the pids in it: what the orphan sweep enumerates. */
  list(): Promise<ReadonlyMap<string, readonly number[]>>
}

export interface CgroupsOptions {
  readonly installation: string
  /** Where the host's hierarchies are mounted: /sys/fs/cgroup unless given. */
  readonly root?: string
}

/** Disposal removes the installation's folders if no machine is left in them. */
export interface OpenCgroups extends Cgroups, AsyncDisposable {
  readonly version: 1 | 2
}

const V1_CONTROLLERS = ['memory', 'pids', 'cpu', 'freezer']
const V2_CONTROLLERS = ['memory', 'pids', 'cpu']
const REMOVE_MS = 10_000

/**
 * Finds out which version the host has. A controller that it lacks is no fault here (`lelantos doctor` says so): its limit
 * does not hold then, and without any controller machines have no cgroup.
 */
export async function openCgroups(options: CgroupsOptions): Promise<OpenCgroups> {
  const { installation, root = '/sys/fs/cgroup' } = options
  if (!new RegExp(INSTALLATION_PATTERN).test(installation)) {
    throw new Error(`an installation is six hex digits, got ${JSON.stringify(installation)}`)
  }
  const folder = `lelantos-${installation}`
  if (await exists(`${root}/cgroup.controllers`)) return new CgroupFolders(2, [`${root}/${folder}`])
  const parents: string[] = []
  for (const controller of V1_CONTROLLERS) {
    if (await exists(`${root}/${controller}/cgroup.procs`)) parents.push(`${root}/${controller}/${folder}`)
  }
  return new CgroupFolders(1, parents)
}

class CgroupFolders implements OpenCgroups {
  readonly version: 1 | 2
  readonly #parents: readonly string[]

  constructor(version: 1 | 2, parents: readonly string[]) {
    this.version = version
    this.#parents = parents
  }

  async create(machineID: string, limits: { memoryMB: number; processes: number }): Promise<readonly string[]> {
    const folders = this.#folders(machineID)
    for (const parent of this.#parents) {
      await mkdir(parent, { recursive: true, mode: 0o755 })
      if (this.version === 2) await delegate(parent)
    }
    const made: string[] = []
    try {
      for (const folder of folders) {
        await mkdir(folder, { mode: 0o755 })
        made.push(folder)
        await limit(folder, limits)
      }
    } catch (error) {
      for (const folder of made) await removeFolder(folder)
      throw error
    }
    return folders
  }

  async remove(machineID: string): Promise<void> {
    const deadline = performance.now() + REMOVE_MS
    for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, 50)) {
      const left: string[] = []
      for (const folder of this.#folders(machineID)) {
        if (!(await killAndRemove(folder))) left.push(folder)
      }
      if (left.length === 0) return
      if (performance.now() > deadline) {
        throw new Error(`${left.join(', ')} still cannot be removed after ${REMOVE_MS} ms`)
      }
      await pause(pauseMs)
    }
  }

  async list(): Promise<ReadonlyMap<string, readonly number[]>> {
    const machines = new Map<string, Set<number>>()
    for (const parent of this.#parents) {
      for (const machineID of (await children(parent)).filter((name) => new RegExp(MACHINE_PATTERN).test(name))) {
        const pids = machines.get(machineID) ?? new Set()
        for (const pid of await processes(`${parent}/${machineID}`)) pids.add(pid)
        machines.set(machineID, pids)
      }
    }
    return new Map([...machines].map(([machineID, pids]) => [machineID, [...pids]]))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const parent of this.#parents) await removeFolder(parent)
  }

  #folders(machineID: string): string[] {
    if (!new RegExp(MACHINE_PATTERN).test(machineID)) {
      throw new Error(`not the id of a machine: ${JSON.stringify(machineID)}`)
    }
    return this.#parents.map((parent) => `${parent}/${machineID}`)
  }
}

/** Lets the children of a folder of v2 have controllers: those of its parent must be given to it first. */
export async function delegate(folder: string): Promise<void> {
  for (const path of [folder.slice(0, folder.lastIndexOf('/')), folder]) {
    const file = `${path}/cgroup.subtree_control`
    const enabled = (await readFile(file, 'utf8')).trim().split(' ')
    const available = (await readFile(`${path}/cgroup.controllers`, 'utf8')).trim().split(' ')
    for (const controller of V2_CONTROLLERS) {
      if (enabled.includes(controller) || !available.includes(controller)) continue
      try {
        await writeFile(file, `+${controller}`)
      } catch (error) {
        // EBUSY: the root of a container, with processes in it. Its machines go without that limit.
        if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error
      }
    }
  }
}

/** Writes the limits that this folder knows, whichever version and controller it is of. */
export async function limit(
  folder: string,
  { memoryMB, processes: count }: { memoryMB: number; processes: number },
): Promise<void> {
  const bytes = String(memoryMB * 1024 * 1024)
  const values: [string, string][] = [
    ['memory.max', bytes],
    ['memory.oom.group', '1'],
    ['memory.limit_in_bytes', bytes],
    ['pids.max', String(count)],
  ]
  for (const [name, value] of values) {
    if (await exists(`${folder}/${name}`)) await writeFile(`${folder}/${name}`, value)
  }
}

/** One attempt: whether the folder is gone. */
async function killAndRemove(folder: string): Promise<boolean> {
  const pids = await processes(folder)
  if (pids.length === 0) return removeFolder(folder)
  for (const pid of pids) {
    if (pid === process.pid) throw new Error(`${folder} holds the worker itself`)
    try {
      process.kill(pid, 'SIGKILL')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
  return false
}

async function removeFolder(folder: string): Promise<boolean> {
  try {
    await rmdir(folder)
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // EBUSY: a process is still ending in it, or a machine has come into it.
    if (code === 'EBUSY' || code === 'ENOTEMPTY') return false
    if (code === 'ENOENT') return true
    throw error
  }
}

async function processes(folder: string): Promise<number[]> {
  const text = await readFile(`${folder}/cgroup.procs`, 'utf8').catch((error: NodeJS.ErrnoException) => {
    // ENODEV: it was removed between open and read.
    if (error.code === 'ENOENT' || error.code === 'ENODEV') return ''
    throw error
  })
  return text.split('\n').filter(Boolean).map(Number)
}

async function children(folder: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
