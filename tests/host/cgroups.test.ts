// Cgroups of machines on this host's own hierarchies, and on the unified one, which every kernel can mount. Needs root.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { afterEach, describe, expect, it } from 'vitest'
import { newMachineID } from '@lelantos-ai/contract'
import { openCgroups } from '@lelantos-ai/worker/host/cgroups'

const INSTALLATION = 'cc0001'
const MIB = 1024 * 1024
const limits = { memoryMB: 64, processes: 8 }

/** Starts a program that is in the cgroup from its first instruction, as an engine does. */
function start(folders: readonly string[], script: string) {
  const enter = folders.map((folder) => `echo $$ >${folder}/cgroup.procs`)
  return spawn('sh', ['-c', [...enter, script].join('; ')], { stdio: ['ignore', 'pipe', 'ignore'] })
}

describe('on this host', () => {
  const machineID = newMachineID(INSTALLATION)

  afterEach(async () => {
    await using cgroups = await openCgroups({ installation: INSTALLATION })
    for (const left of (await cgroups.list()).keys()) await cgroups.remove(left)
  })

  it('limits, lists, kills and removes, and leaves nothing', async () => {
    const cgroups = await openCgroups({ installation: INSTALLATION })
    const folders = await cgroups.create(machineID, limits)
    expect(folders.length).toBeGreaterThan(0)
    const file = cgroups.version === 2 ? 'memory.max' : 'memory.limit_in_bytes'
    const memory = folders.find((folder) => existsSync(`${folder}/${file}`))
    expect(await readFile(`${memory}/${file}`, 'utf8')).toBe(`${64 * MIB}\n`)
    expect(await cgroups.list()).toEqual(new Map([[machineID, []]]))

    // A family: the parent waits for children that ignore every signal that can be ignored.
    const family = start(folders, `trap '' TERM HUP INT; sleep 600 & sleep 600 & echo ready; wait`)
    await once(family.stdout, 'data')
    expect((await cgroups.list()).get(machineID)).toHaveLength(3)
    expect((await cgroups.list()).get(machineID)).toContain(family.pid)

    const ended = once(family, 'exit')
    await cgroups.remove(machineID)
    await ended
    await cgroups.remove(machineID)
    expect(await cgroups.list()).toEqual(new Map())
    await cgroups[Symbol.asyncDispose]()
    for (const folder of folders) expect(existsSync(folder.replace(/\/[^/]+$/, ''))).toBe(false)
  })

  it('kills what takes more memory than it may', async () => {
    await using cgroups = await openCgroups({ installation: INSTALLATION })
    const folders = await cgroups.create(machineID, limits)
    const hungry = start(folders, `exec ${process.execPath} -e 'Buffer.alloc(${512 * MIB}, 1); console.log("fed")'`)
    let said = ''
    hungry.stdout.on('data', (data) => (said += data))
    expect(await once(hungry, 'exit')).toEqual([null, 'SIGKILL'])
    expect(said).toBe('')
    await cgroups.remove(machineID)
  })

  it('lets it have so many processes and no more', async () => {
    await using cgroups = await openCgroups({ installation: INSTALLATION })
    const folders = await cgroups.create(machineID, limits)
    const many = start(folders, 'for i in 1 2 3 4 5 6 7 8 9 10; do sleep 600 & done; echo done; wait')
    await Promise.race([once(many.stdout, 'data'), once(many, 'exit')])
    expect((await cgroups.list()).get(machineID)?.length).toBeLessThanOrEqual(limits.processes)
    await cgroups.remove(machineID)
  })

  it('refuses names that are no machine, and a machine twice', async () => {
    await using cgroups = await openCgroups({ installation: INSTALLATION })
    for (const name of ['', '..', 'a/b']) {
      await expect(cgroups.create(name, limits)).rejects.toThrow('not the id of a machine')
      await expect(cgroups.remove(name)).rejects.toThrow('not the id of a machine')
    }
    const first = start(await cgroups.create(machineID, limits), 'echo ready; sleep 600')
    await once(first.stdout, 'data')
    await expect(cgroups.create(machineID, limits)).rejects.toThrow('EEXIST')
    expect((await cgroups.list()).get(machineID)).toContain(first.pid)
  })
})

it('kills and removes in the unified hierarchy', async () => {
  const root = await mkdtemp(`${tmpdir()}/lelantos-cgroup2-`)
  execFileSync('mount', ['-t', 'cgroup2', 'none', root])
  try {
    const machineID = newMachineID('cc0002')
    const cgroups = await openCgroups({ installation: 'cc0002', root })
    expect(cgroups.version).toBe(2)
    const folders = await cgroups.create(machineID, limits)
    expect(folders).toEqual([`${root}/lelantos-cc0002/${machineID}`])
    const program = start(folders, `trap '' TERM; sleep 600 & echo ready; wait`)
    await once(program.stdout, 'data')
    expect((await cgroups.list()).get(machineID)).toHaveLength(2)
    const ended = once(program, 'exit')
    await cgroups.remove(machineID)
    await ended
    expect(await cgroups.list()).toEqual(new Map())
    await cgroups[Symbol.asyncDispose]()
    expect(existsSync(`${root}/lelantos-cc0002`)).toBe(false)
  } finally {
    execFileSync('umount', [root])
    await rmdir(root)
  }
})
