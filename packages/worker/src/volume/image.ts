// The sparse file with an XFS in it, and its mount.
import { open, readFile, realpath, rename, rm } from 'node:fs/promises'
import { command } from '../host/command.ts'
import { holders } from './holders.ts'

const MOUNT_MS = 60_000
/** mkfs.xfs refuses anything smaller: mkfs.xfs(8). */
export const IMAGE_BYTES_MIN = 300 * 1024 * 1024

/** Makes the image under a temporary name, so that a half-made one is never mounted. */
export async function makeImage(image: string, sizeBytes: number): Promise<void> {
  const temporary = `${image}.new`
  await rm(temporary, { force: true })
  const file = await open(temporary, 'wx', 0o600)
  try {
    await file.truncate(sizeBytes - (sizeBytes % 4096))
    await command('mkfs.xfs', ['-q', '-m', 'reflink=1', '-L', 'lelantos', temporary], { deadlineMs: MOUNT_MS })
    await file.sync()
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  } finally {
    await file.close()
  }
  await rename(temporary, image)
}

/** What guests delete is given back to the file system under it (`discard`). */
export async function mountImage(image: string, folder: string): Promise<void> {
  await command('mount', ['-t', 'xfs', '-o', 'loop,noatime,nodev,nosuid,discard', image, folder], {
    deadlineMs: MOUNT_MS,
  })
}

/** The file that is mounted on the folder by a loop device; `undefined` when nothing is. Throws when something else is. */
export async function mountedImage(folder: string): Promise<string | undefined> {
  const path = await realpath(folder)
  const mount = (await readFile('/proc/self/mountinfo', 'utf8'))
    .split('\n')
    .map((line) => line.split(' '))
    .findLast((fields) => fields[4] !== undefined && unescape(fields[4]) === path)
  if (!mount) return undefined
  const source = mount[mount.indexOf('-') + 2] ?? ''
  const loop = /^\/dev\/(loop\d+)$/.exec(source)?.[1]
  // A folder that an administrator has mounted a disk of its own on is as good as any.
  if (loop === undefined) return undefined
  return (await readFile(`/sys/block/${loop}/loop/backing_file`, 'utf8')).trimEnd()
}

/**
 * Takes the mount down. Rejects when a process uses it, be it in a mount namespace of its own, where it would keep the file
 * system in use unseen.
 */
export async function unmount(folder: string): Promise<void> {
  const by = await holders(folder)
  if (by.length > 0) throw new Error(`${folder} cannot be unmounted: held by ${by.join(', ')}`)
  await command('umount', [folder], { deadlineMs: MOUNT_MS })
}

/** mountinfo writes blanks and backslashes of a path as octal: proc_pid_mountinfo(5). */
function unescape(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
}
