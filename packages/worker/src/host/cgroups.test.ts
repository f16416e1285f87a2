// What is written into the files of a hierarchy, on folders that look like one; the system tests use real ones.
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { delegate, limit, openCgroups } from './cgroups.ts'

let root: string
beforeEach(async () => {
  root = await mkdtemp(`${tmpdir()}/lelantos-cgroups-`)
})
afterEach(() => rm(root, { recursive: true }))

const read = (name: string) => readFile(`${root}/${name}`, 'utf8')

describe('limits', () => {
  it('are written where the folder knows them, and nowhere else', async () => {
    for (const name of ['memory.max', 'memory.oom.group', 'pids.max']) await writeFile(`${root}/${name}`, 'max')
    await limit(root, { memoryMB: 832, processes: 256 })
    expect(await Promise.all(['memory.max', 'memory.oom.group', 'pids.max'].map(read))).toEqual([
      '872415232',
      '1',
      '256',
    ])
    await expect(read('memory.limit_in_bytes')).rejects.toThrow('ENOENT')
  })

  it('have another name under version 1', async () => {
    await writeFile(`${root}/memory.limit_in_bytes`, '')
    await limit(root, { memoryMB: 1, processes: 1 })
    expect(await read('memory.limit_in_bytes')).toBe('1048576')
  })
})

describe('controllers of version 2', () => {
  it('are handed down as far as they are there and not handed down yet', async () => {
    await mkdir(`${root}/child`)
    for (const folder of [root, `${root}/child`]) await writeFile(`${folder}/cgroup.controllers`, 'cpuset cpu pids\n')
    await writeFile(`${root}/cgroup.subtree_control`, 'cpu pids\n')
    await writeFile(`${root}/child/cgroup.subtree_control`, 'cpu\n')
    await delegate(`${root}/child`)
    expect(await read('cgroup.subtree_control')).toBe('cpu pids\n')
    expect(await read('child/cgroup.subtree_control')).toBe('+pids')
  })
})

describe('the version', () => {
  it('is 2 where the root has controllers, else 1 with what is mounted', async () => {
    const options = { installation: '00aa00', root }
    expect((await openCgroups(options)).version).toBe(1)
    expect(await (await openCgroups(options)).create('00aa00abcdefgh', { memoryMB: 1, processes: 1 })).toEqual([])
    await mkdir(`${root}/pids`)
    await writeFile(`${root}/pids/cgroup.procs`, '')
    const folders = await (await openCgroups(options)).create('00aa00abcdefgh', { memoryMB: 1, processes: 1 })
    expect(folders).toEqual([`${root}/pids/lelantos-00aa00/00aa00abcdefgh`])
    await writeFile(`${root}/cgroup.controllers`, 'cpu\n')
    expect((await openCgroups(options)).version).toBe(2)
    await expect(openCgroups({ installation: '../..', root })).rejects.toThrow('six hex digits')
  })
})
