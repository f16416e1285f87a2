// The VM volume on real mounts. Needs root and loop devices.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { mkdtemp, open, rm, stat, statfs, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { silentLog } from '@lelantos-ai/contract'
import { clone } from '@lelantos-ai/worker/volume/clone'
import { mountedImage } from '@lelantos-ai/worker/volume/image'
import { openVolume } from '@lelantos-ai/worker/volume/open'

const MIB = 1024 * 1024
let home: string
let options: Parameters<typeof openVolume>[0]

beforeEach(async () => {
  home = await mkdtemp(`${tmpdir()}/lelantos-volume-`)
  options = { folder: `${home}/vm`, image: `${home}/vm.xfs`, sizeBytes: 512 * MIB, reserveBytes: 0, log: silentLog }
})

afterEach(async () => {
  const mounted = existsSync(options.folder) ? await mountedImage(options.folder) : undefined
  if (mounted !== undefined) execFileSync('umount', [options.folder])
  await rm(home, { recursive: true, force: true })
})

/** A file of 256 MiB in which only the first and the last MiB are there. */
async function sparseFile(path: string): Promise<void> {
  await using file = await open(path, 'wx')
  await file.truncate(256 * MIB)
  await file.write(Buffer.alloc(MIB, 1), 0, MIB, 0)
  await file.write(Buffer.alloc(MIB, 2), 0, MIB, 255 * MIB)
}

describe('a volume in a loop-mounted file', () => {
  it('clones by reference, is found again when opened twice, and leaves no mount behind', async () => {
    const first = await openVolume(options)
    expect(first.reflink).toBe(true)
    await sparseFile(`${first.root}/machines/disk`)
    const before = (await statfs(first.root)).bfree
    await first.clone(`${first.root}/machines/disk`, `${first.root}/machines/clone`)
    const { bfree, bsize } = await statfs(first.root)
    expect((before - bfree) * bsize).toBeLessThan(MIB)
    await expect(first.clone(`${first.root}/machines/disk`, `${first.root}/machines/clone`)).rejects.toThrow('EEXIST')

    const second = await openVolume(options)
    expect(execFileSync('losetup', ['-j', options.image], { encoding: 'utf8' }).trim().split('\n')).toHaveLength(1)
    await second.close()
    expect(await mountedImage(options.folder)).toBeUndefined()

    const third = await openVolume(options)
    execFileSync('cmp', [`${third.root}/machines/clone`, `${third.root}/machines/disk`])
    await third.close()
  })

  it('gives what is deleted back to the file system under it', async () => {
    await using volume = closing(await openVolume(options))
    await writeFile(`${volume.root}/machines/full`, Buffer.alloc(64 * MIB, 7), { flush: true })
    execFileSync('sync', ['-f', volume.root])
    const full = (await stat(options.image)).blocks * 512
    await rm(`${volume.root}/machines/full`)
    // XFS frees and discards in the background, with its log, which a sync writes.
    const allocated = async () => {
      execFileSync('sync', ['-f', volume.root])
      return (await stat(options.image)).blocks * 512
    }
    await expect.poll(allocated, { timeout: 30_000, interval: 200 }).toBeLessThan(full - 50 * MIB)
  })

  it('counts room above the reserve', async () => {
    await using volume = closing(await openVolume({ ...options, reserveBytes: 100 * MIB }))
    const before = await volume.room()
    expect(before).toBeLessThan(412 * MIB)
    await writeFile(`${volume.root}/machines/full`, Buffer.alloc(64 * MIB, 7), { flush: true })
    expect(before - (await volume.room())).toBeGreaterThan(60 * MIB)
    await using strict = closing(await openVolume({ ...options, reserveBytes: 1024 ** 5 }), false)
    expect(await strict.room()).toBeLessThan(0)
  })

  it.each([
    ['its working folder', (folder: string) => ['sh', ['-c', `cd ${folder} && echo ready && exec sleep 60`]] as const],
    [
      'a file, in a mount namespace of its own',
      (folder: string) =>
        [
          'unshare',
          ['--mount', '--propagation=private', 'sh', '-c', `exec 7>${folder}/x; echo ready; exec sleep 60`],
        ] as const,
    ],
  ])('says who holds it by %s, and stays', async (_what, program) => {
    const volume = await openVolume(options)
    const [name, args] = program(`${volume.root}/machines`)
    const holder = spawn(name, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(holder.stdout, 'data')
    await expect(volume.close()).rejects.toThrow(`held by sleep (${holder.pid})`)
    expect(await volume.room()).toBeGreaterThan(0)
    holder.kill('SIGKILL')
    await once(holder, 'exit')
    await volume.close()
    expect(await mountedImage(options.folder)).toBeUndefined()
  })

  it('refuses a size that mkfs.xfs refuses', async () => {
    await expect(openVolume({ ...options, sizeBytes: 10 * MIB })).rejects.toThrow(
      'at least 314572800 bytes, got 10485760',
    )
  })
})

describe('where mounting is refused', () => {
  it('goes on with sparse copies, and leaves no image', () => {
    // A child without CAP_SYS_ADMIN, which is what many containers are.
    const program = `
      const { openVolume } = await import('@lelantos-ai/worker/volume/open')
      const log = { info: () => {}, warn: () => {} }
      const volume = await openVolume({ ...JSON.parse(process.argv[1]), log })
      await (await import('node:fs/promises')).copyFile('/proc/self/exe', volume.root + '/machines/disk')
      await volume.clone(volume.root + '/machines/disk', volume.root + '/machines/copy')
      console.log(JSON.stringify({ reflink: volume.reflink, room: await volume.room() }))
      await volume.close()`
    const args = ['--bounding-set=-sys_admin', '--inh-caps=-sys_admin', process.execPath, '--conditions=source']
    const out = execFileSync('setpriv', [...args, '--input-type=module', '-e', program, JSON.stringify(options)], {
      encoding: 'utf8',
    })
    expect(JSON.parse(out)).toEqual({ reflink: false, room: expect.any(Number) })
    execFileSync('cmp', [`${options.folder}/machines/disk`, `${options.folder}/machines/copy`])
    expect(readdirSync(home)).toEqual(['vm'])
  })

  it('keeps holes in a copy, and does not write over what is there', async () => {
    await sparseFile(`${home}/disk`)
    await clone(`${home}/disk`, `${home}/copy`, false)
    expect((await stat(`${home}/copy`)).blocks * 512).toBeLessThan(4 * MIB)
    execFileSync('cmp', [`${home}/disk`, `${home}/copy`])
    await expect(clone(`${home}/disk`, `${home}/copy`, false)).rejects.toThrow('EEXIST')
  })
})

it('uses the folder itself where its file system clones by reference', async () => {
  await using outer = closing(await openVolume(options))
  const inner = await openVolume({ ...options, folder: `${outer.root}/inner`, image: `${outer.root}/inner.xfs` })
  expect(inner.reflink).toBe(true)
  await expect(stat(`${outer.root}/inner.xfs`)).rejects.toThrow('ENOENT')
  await inner.close()
})

it('fails with ENOSPC, and leaves nothing, when a copy does not fit', async () => {
  await using volume = closing(await openVolume(options))
  await writeFile(`${home}/large`, Buffer.alloc(600 * MIB, 1))
  await expect(clone(`${home}/large`, `${volume.root}/machines/large`, false)).rejects.toMatchObject({ code: 'ENOSPC' })
  await expect(stat(`${volume.root}/machines/large`)).rejects.toThrow('ENOENT')
})

function closing<V extends { close(): Promise<void> }>(volume: V, close = true): V & AsyncDisposable {
  return { ...volume, [Symbol.asyncDispose]: async () => (close ? volume.close() : undefined) }
}
