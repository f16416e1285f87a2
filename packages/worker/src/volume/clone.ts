import { constants } from 'node:fs'
import { access, copyFile, rm, writeFile } from 'node:fs/promises'
import { command } from '../host/command.ts'

/** A disk of some GB that is copied by a busy host. */
const COPY_MS = 600_000

/** Copies a file. By reference it costs milliseconds, no space, and shares the page cache until written; otherwise holes stay holes. */
export async function clone(from: string, to: string, reflink: boolean): Promise<void> {
  if (reflink) {
    try {
      await copyFile(from, to, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL)
      return
    } catch (error) {
      // A file from another file system (an image that set-up has made) is copied, the once that it is needed.
      if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error
    }
  }
  // Claims the name, since cp would write into what is there. Node's own copy would fill the holes.
  await writeFile(to, '', { flag: 'wx', mode: 0o600 })
  try {
    await command('cp', ['--sparse=always', '--reflink=auto', '--no-target-directory', '--', from, to], {
      deadlineMs: COPY_MS,
    })
  } catch (error) {
    await rm(to, { force: true })
    const full = String(error).includes('No space left on device')
    throw full ? Object.assign(new Error(`no space left to copy ${from}`, { cause: error }), { code: 'ENOSPC' }) : error
  }
}

/** Tries it with two small files. */
export async function clonesByReference(folder: string): Promise<boolean> {
  const from = `${folder}/.reflink-probe-${crypto.randomUUID()}`
  const to = `${from}-clone`
  try {
    await writeFile(from, Buffer.alloc(65_536, 1), { flag: 'wx' })
    await copyFile(from, to, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL)
    await access(to)
    return true
  } catch (error) {
    // What file systems without it say: ext4 and tmpfs, overlayfs, others.
    if (
      ['ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EINVAL', 'ENOTTY', 'EXDEV'].includes(
        (error as NodeJS.ErrnoException).code ?? '',
      )
    )
      return false
    throw error
  } finally {
    await rm(from, { force: true })
    await rm(to, { force: true })
  }
}
