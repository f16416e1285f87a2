// Sealing makes files of a draft durable and immutable, and writes down what they are.
import { constants } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import type { SavedFile } from '../engines/engine.ts'
import { chunksWithData } from './extents.ts'
import type { Hasher } from './hasher.ts'
import { CHUNK_BYTES, manifestFiles, readManifest, type FileEntry } from './manifest.ts'

/** Names that `save` may give: nothing that leads out of the folder, and none that is hidden. */
const NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$/

/** Only root writes it from now on, everyone may read it; hashed and on the disk when it resolves. */
export async function sealFile(folder: string, saved: SavedFile, hasher: Hasher): Promise<FileEntry> {
  if (!NAME.test(saved.name)) throw new Error(`a saved file cannot be called ${JSON.stringify(saved.name)}`)
  // The folder may be writable by the VMM, which is not trusted: no link is followed, and no pipe waited for.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  const file = await open(`${folder}/${saved.name}`, flags)
  try {
    if (!(await file.stat()).isFile()) throw new Error(`${saved.name} of a snapshot is not a file`)
    await file.chown(0, 0)
    await file.chmod(0o444)
    const [chunks, synced] = await Promise.allSettled([hashSaved(file, saved, hasher), file.sync()])
    if (chunks.status === 'rejected') throw chunks.reason
    if (synced.status === 'rejected') throw synced.reason
    const { size, ino, mtimeNs } = await file.stat({ bigint: true })
    return { name: saved.name, size: Number(size), inode: String(ino), mtimeNs: String(mtimeNs), chunks: chunks.value }
  } finally {
    await file.close()
  }
}

/** Hashes all chunks that have data, or where the file inherits those that changed. */
async function hashSaved(file: FileHandle, saved: SavedFile, hasher: Hasher): Promise<(string | null)[]> {
  const { size } = await file.stat()
  const inherited = saved.inherits && (await sealedEntry(saved.inherits.from))
  if (!saved.inherits || inherited?.size !== size) return hashAll(file, hasher)
  const chunks = [...inherited.chunks]
  const changed = [...new Set(saved.inherits.changed)]
  const outside = changed.find((chunk) => !Number.isInteger(chunk) || chunk < 0 || chunk >= chunks.length)
  if (outside !== undefined) {
    throw new Error(`${saved.name} says that its chunk ${outside} changed, but has ${chunks.length} chunks`)
  }
  const hashes = await hasher.hash(file.fd, changed)
  changed.forEach((chunk, n) => {
    chunks[chunk] = hashes[n] ?? null
  })
  return chunks
}

/** Hashes of every chunk of a file. */
export async function hashAll(file: FileHandle, hasher: Hasher): Promise<(string | null)[]> {
  const { size } = await file.stat()
  const chunks = Array.from({ length: Math.ceil(size / CHUNK_BYTES) }, (): string | null => null)
  const withData = await chunksWithData(file)
  const hashes = await hasher.hash(file.fd, withData)
  withData.forEach((chunk, n) => {
    chunks[chunk] = hashes[n] ?? null
  })
  return chunks
}

/** What the manifest beside a sealed file says of it. */
async function sealedEntry(path: string): Promise<FileEntry> {
  const manifest = await readManifest(dirname(path), basename(dirname(path)))
  const entry = manifestFiles(manifest).find((file) => file.name === basename(path))
  if (!entry) throw new Error(`${path} is no file of its snapshot, so nothing inherits from it`)
  return entry
}
