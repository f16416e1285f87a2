// Sealed snapshots on real file systems. Needs root, which seals them, and mounts.
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chmod,
  copyFile,
  link,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { silentLog } from '@lelantos-ai/contract'
import type { Saved, World } from '@lelantos-ai/worker/engines/engine'
import { openSnapshots, type OpenSnapshots } from '@lelantos-ai/worker/snapshots/open'

const MIB = 1024 * 1024
const world: World = {
  engine: 'paper',
  version: '1',
  devices: 'none',
  accelerator: 'none',
  cpu: 'none',
  shape: { cpuCount: 1, memoryMB: 16, diskSizeMB: 64 },
}
const saved: Saved = { world, memory: { name: 'memory' }, state: { name: 'state' }, disks: [{ name: 'disk0' }] }
const about = { buildID: 'bld1', madeWith: { kernel: 'k', guest: 'g', image: 'i' }, controlSecret: 'open sesame' }

let root: string
let key: Buffer
let snapshots: OpenSnapshots

beforeEach(async () => {
  root = await mkdtemp(`${tmpdir()}/lelantos-snapshots-`)
  key = randomBytes(32)
  snapshots = await openSnapshots({ root, installationKey: key, log: silentLog })
})

afterEach(async () => {
  await snapshots[Symbol.asyncDispose]()
  await rm(root, { recursive: true, force: true })
})

/** 16 MiB of memory with data in chunks 1 and 5, a state, and a 64 MiB disk with data in its last chunk. */
async function writeFiles(folder: string): Promise<void> {
  await using memory = await open(`${folder}/memory`, 'wx')
  await memory.truncate(16 * MIB)
  await memory.write(randomBytes(MIB), 0, MIB, 2 * MIB + 1000)
  await memory.write(randomBytes(100), 0, 100, 10 * MIB)
  await writeFile(`${folder}/state`, randomBytes(19_348))
  await using disk = await open(`${folder}/disk0`, 'wx')
  await disk.truncate(64 * MIB)
  await disk.write(randomBytes(4096), 0, 4096, 64 * MIB - 4096)
}

async function sealNew(snapshotID: string) {
  await using draft = await snapshots.begin(snapshotID)
  await writeFiles(draft.folder)
  return await snapshots.seal(draft, saved, about)
}

/** Changes a byte of a sealed file, as a bad disk would. */
async function flip(path: string, position: number): Promise<void> {
  await using file = await open(path, 'r+')
  const byte = Buffer.alloc(1)
  await file.read(byte, 0, 1, position)
  await file.write(Buffer.from([(byte[0] ?? 0) ^ 1]), 0, 1, position)
}

async function manifestOf(snapshotID: string) {
  const text = await readFile(`${root}/snapshots/${snapshotID}/manifest.json`, 'utf8')
  return JSON.parse(text.split('\n')[1] ?? '') as {
    memory: { chunks: (string | null)[]; inode: string }
    disks: { chunks: (string | null)[] }[]
    controlSecret: string
  }
}

describe('sealing', () => {
  it('yields what `open` yields, immutable, with a hash for each chunk that has data', async () => {
    const sealed = await sealNew('snp1')
    expect(await snapshots.open('snp1')).toEqual(sealed)
    expect(sealed).toMatchObject({ snapshotID: 'snp1', buildID: 'bld1', controlSecret: 'open sesame', world })
    for (const path of [sealed.memory, sealed.state, ...sealed.disks]) {
      expect(await stat(path)).toMatchObject({ uid: 0, gid: 0, mode: 0o100444 })
    }
    const manifest = await manifestOf('snp1')
    expect(manifest.memory.chunks.flatMap((hash, chunk) => (hash === null ? [] : [chunk]))).toEqual([1, 5])
    expect(manifest.disks[0]?.chunks.flatMap((hash, chunk) => (hash === null ? [] : [chunk]))).toEqual([31])
    const chunk = (await readFile(sealed.memory)).subarray(2 * MIB, 4 * MIB)
    expect(manifest.memory.chunks[1]).toBe(execFileSync('sha256sum', { input: chunk, encoding: 'utf8' }).slice(0, 64))
    expect(manifest.controlSecret).not.toContain('sesame')
    expect(await snapshots.list()).toEqual(['snp1'])
    expect(await readdir(`${root}/snapshots`)).toEqual(['snp1'])
    expect(await snapshots.scrub()).toEqual([])
  })

  it('hashes only what changed and inherits the rest', async () => {
    const base = await sealNew('snp1')
    const derive = async (snapshotID: string, changed: number[]) => {
      await using draft = await snapshots.begin(snapshotID)
      await copyFile(base.memory, `${draft.folder}/memory`)
      await chmod(`${draft.folder}/memory`, 0o600)
      await flip(`${draft.folder}/memory`, 5 * MIB)
      await writeFile(`${draft.folder}/state`, 'state')
      await link(base.disks[0] ?? '', `${draft.folder}/disk0`)
      const memory = { name: 'memory', inherits: { from: base.memory, changed } }
      const disks = [{ name: 'disk0', inherits: { from: base.disks[0] ?? '', changed: [] } }]
      return await snapshots.seal(draft, { ...saved, memory, disks }, about)
    }
    const good = await derive('snp2', [2])
    expect(await snapshots.open('snp2')).toEqual(good)
    expect(await snapshots.scrub()).toEqual([])
    const [before, after] = [await manifestOf('snp1'), await manifestOf('snp2')]
    expect(after.memory.chunks.filter((hash, chunk) => hash !== before.memory.chunks[chunk])).toHaveLength(1)

    // An engine that forgets a chunk is found out: that hash was inherited, not read.
    await derive('snp3', [])
    expect((await snapshots.scrub()).map(String)).toEqual([expect.stringMatching(/snp3 is damaged: chunk 2 of memory/)])
    await expect(derive('snp4', [8])).rejects.toThrow('its chunk 8 changed, but has 8 chunks')

    // The base may go: what is shared is a link.
    await snapshots.delete('snp1')
    expect(await snapshots.open('snp2')).toMatchObject({ snapshotID: 'snp2' })
  })

  it('leaves nothing of a draft that was not sealed, nor of a deleted snapshot', async () => {
    {
      await using draft = await snapshots.begin('snp1')
      await writeFiles(draft.folder)
      expect(await snapshots.list()).toEqual([])
      await expect(snapshots.open('snp1')).rejects.toMatchObject({ code: 'snapshot_missing' })
    }
    expect(await readdir(`${root}/snapshots`)).toEqual([])
    await sealNew('snp2')
    await snapshots.delete('snp2')
    await snapshots.delete('snp2')
    expect(await readdir(`${root}/snapshots`)).toEqual([])
  })

  it('removes at a start what an interrupted run has left', async () => {
    const draft = await snapshots.begin('snp1')
    await writeFiles(draft.folder)
    await sealNew('snp2')
    await using again = await openSnapshots({ root, installationKey: key, log: silentLog })
    expect(await readdir(`${root}/snapshots`)).toEqual(['snp2'])
    expect(await again.open('snp2')).toMatchObject({ snapshotID: 'snp2' })
  })

  it('does not replace a sealed snapshot, and refuses what is no id', async () => {
    const first = await sealNew('snp1')
    await expect(sealNew('snp1')).rejects.toThrow('ENOTEMPTY')
    expect(await snapshots.open('snp1')).toEqual(first)
    for (const id of ['', '.', '../x', 'a/b', 'A']) {
      await expect(snapshots.open(id)).rejects.toThrow('not the id of a snapshot')
      await expect(snapshots.begin(id)).rejects.toThrow('not the id of a snapshot')
    }
  })

  it('follows no link that a VMM may have put there', async () => {
    await using draft = await snapshots.begin('snp1')
    await writeFiles(draft.folder)
    await rm(`${draft.folder}/state`)
    await symlink('/etc/shadow', `${draft.folder}/state`)
    await expect(snapshots.seal(draft, saved, about)).rejects.toThrow('ELOOP')
    await rm(`${draft.folder}/state`)
    execFileSync('mkfifo', [`${draft.folder}/state`])
    await expect(snapshots.seal(draft, saved, about)).rejects.toThrow('not a file')
    const outside = { ...saved, state: { name: '../state' } }
    await expect(snapshots.seal(draft, outside, about)).rejects.toThrow('cannot be called "../state"')
  })

  it('says that the disk is full, and leaves nothing', async () => {
    const small = `${root}/small`
    await mkdir(small)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'lelantos-test', small])
    try {
      await using full = await openSnapshots({ root: small, installationKey: key, log: silentLog })
      {
        await using draft = await full.begin('snp1')
        for (const name of ['memory', 'state', 'disk0']) await writeFile(`${draft.folder}/${name}`, 'x')
        // Fills what is left to the last page, so that there is none for the manifest.
        execFileSync('sh', ['-c', `dd if=/dev/zero of=${small}/filler bs=4k 2>/dev/null || true`])
        await expect(full.seal(draft, saved, about)).rejects.toMatchObject({ code: 'disk_full' })
      }
      expect(await readdir(`${small}/snapshots`)).toEqual([])
    } finally {
      execFileSync('umount', [small])
    }
  })
})

describe('opening', () => {
  it.each([
    ['in a chunk with data', 'memory', 3 * MIB, 'chunk 1 of memory (bytes 2097152 to 4194303)'],
    ['in a hole', 'disk0', 5 * MIB, 'chunk 2 of disk0'],
    ['in the state', 'state', 19_347, 'chunk 0 of state (bytes 0 to 19347)'],
  ])('refuses a bit flipped %s', async (_where, name, position, words) => {
    await sealNew('snp1')
    await flip(`${root}/snapshots/snp1/${name}`, position)
    await expect(snapshots.open('snp1')).rejects.toMatchObject({ code: 'snapshot_damaged' })
    await expect(snapshots.open('snp1')).rejects.toThrow(words)
  })

  it('refuses a file that is truncated, missing, or a manifest with a bit flipped', async () => {
    const sealed = await sealNew('snp1')
    await truncate(sealed.state, 100)
    await expect(snapshots.open('snp1')).rejects.toThrow('state has 100 bytes, sealed were 19348')
    await rm(sealed.state)
    await expect(snapshots.open('snp1')).rejects.toThrow('state is missing')
    await sealNew('snp2')
    await flip(`${root}/snapshots/snp2/manifest.json`, 100)
    await expect(snapshots.open('snp2')).rejects.toMatchObject({ code: 'snapshot_damaged' })
  })

  it('hashes a copy once, and from then on trusts it', async () => {
    const sealed = await sealNew('snp1')
    const moved = `${root}/moved`
    execFileSync('cp', ['-r', `${root}/snapshots/snp1`, moved])
    await snapshots.delete('snp1')
    await rename(moved, `${root}/snapshots/snp1`)
    const { inode } = (await manifestOf('snp1')).memory
    expect(await snapshots.open('snp1')).toMatchObject({ ...sealed, bytes: expect.any(Number) })
    expect((await manifestOf('snp1')).memory.inode).not.toBe(inode)
    expect((await manifestOf('snp1')).memory.inode).toBe(String((await stat(sealed.memory, { bigint: true })).ino))
  })

  it('is not told of damage that left size and times as they were, but the scrub is', async () => {
    const sealed = await sealNew('snp1')
    const { atime, mtime } = await stat(sealed.memory)
    // To the second, which is what `utimes` can set exactly, and sealed again with that.
    await utimes(sealed.memory, atime, Math.floor(mtime.getTime() / 1000))
    await snapshots.open('snp1')
    await flip(sealed.memory, 3 * MIB)
    await utimes(sealed.memory, atime, Math.floor(mtime.getTime() / 1000))
    expect(await snapshots.open('snp1')).toMatchObject({ snapshotID: 'snp1' })
    expect((await snapshots.scrub()).map(String)).toEqual([expect.stringContaining('chunk 1 of memory')])
  })

  it('needs the key of the installation', async () => {
    await sealNew('snp1')
    await using other = await openSnapshots({ root, installationKey: randomBytes(32), log: silentLog })
    await expect(other.open('snp1')).rejects.toThrow()
  })
})
