// Whether a snapshot's files are still what was sealed.
import { constants } from 'node:fs'
import { open, stat, type FileHandle } from 'node:fs/promises'
import type { Hasher } from './hasher.ts'
import { CHUNK_BYTES, type FileEntry } from './manifest.ts'
import { hashAll } from './seal.ts'
import { SnapshotError } from './snapshots.ts'

/** Whether size, inode and time of the last change are those of the manifest. Rejects when it is missing or of another size. */
export async function isUntouched(snapshotID: string, folder: string, entry: FileEntry): Promise<boolean> {
  let found: { size: bigint; ino: bigint; mtimeNs: bigint }
  try {
    found = await stat(`${folder}/${entry.name}`, { bigint: true })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    throw damaged(snapshotID, `${entry.name} is missing`, error)
  }
  if (found.size !== BigInt(entry.size)) {
    throw damaged(snapshotID, `${entry.name} has ${found.size} bytes, sealed were ${entry.size}`)
  }
  return String(found.ino) === entry.inode && String(found.mtimeNs) === entry.mtimeNs
}

/** Hashes every chunk again. Resolves with the entry as it is now; rejects naming the first chunk that differs. */
export async function verifyFile(
  snapshotID: string,
  folder: string,
  entry: FileEntry,
  hasher: Hasher,
): Promise<FileEntry> {
  const file = await openSealed(snapshotID, folder, entry)
  try {
    const chunks = await hashAll(file, hasher)
    const differing = entry.chunks.findIndex((sealed, chunk) => chunks[chunk] !== sealed)
    if (differing >= 0 || chunks.length !== entry.chunks.length) {
      const chunk = differing >= 0 ? differing : entry.chunks.length
      const bytes = `bytes ${chunk * CHUNK_BYTES} to ${Math.min((chunk + 1) * CHUNK_BYTES, entry.size) - 1}`
      throw damaged(snapshotID, `chunk ${chunk} of ${entry.name} (${bytes}) does not have the hash it was sealed with`)
    }
    const { ino, mtimeNs } = await file.stat({ bigint: true })
    return { ...entry, inode: String(ino), mtimeNs: String(mtimeNs) }
  } finally {
    await file.close()
  }
}

async function openSealed(snapshotID: string, folder: string, entry: FileEntry): Promise<FileHandle> {
  try {
    return await open(`${folder}/${entry.name}`, constants.O_RDONLY | constants.O_NOFOLLOW)
  } catch (error) {
    throw damaged(snapshotID, `${entry.name} cannot be opened`, error)
  }
}

function damaged(snapshotID: string, what: string, cause?: unknown): SnapshotError {
  return new SnapshotError('snapshot_damaged', `snapshot ${snapshotID} is damaged: ${what}`, { cause })
}
