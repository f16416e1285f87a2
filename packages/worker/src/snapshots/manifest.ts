// The manifest of a snapshot: what it is, and of each of its files the hash of every 2 MiB chunk. It is written last; a
// folder without one is no snapshot. A digest over the whole text makes a flipped bit in it as visible as one in a file.
import { hash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { World } from '../engines/engine.ts'
import { replaceFile } from '../host/durable.ts'
import { SnapshotError, type MadeWith } from './snapshots.ts'

export const CHUNK_BYTES = 2 * 1024 * 1024
const MANIFEST = 'manifest.json'
const VERSION = 1

export interface FileEntry {
  /** In the snapshot's folder. */
  readonly name: string
  readonly size: number
  /** With size and mtime: the file is still the one that was hashed. Decimal, since they exceed what JSON numbers hold. */
  readonly inode: string
  readonly mtimeNs: string
  /** SHA-256 in hex, in order of the chunks; null for one that holds nothing but zeros. */
  readonly chunks: readonly (string | null)[]
}

export interface Manifest {
  readonly version: typeof VERSION
  readonly snapshotID: string
  readonly buildID: string
  readonly createdAt: string
  readonly madeWith: MadeWith
  readonly mustFit: World
  /** Encrypted with the installation's key, bound to the snapshot's id. */
  readonly controlSecret: string
  readonly memory: FileEntry
  readonly state: FileEntry
  readonly disks: readonly FileEntry[]
}

export function manifestFiles(manifest: Manifest): FileEntry[] {
  return [manifest.memory, manifest.state, ...manifest.disks]
}

export function newManifest(about: Omit<Manifest, 'version'>): Manifest {
  return { version: VERSION, ...about }
}

/** Rejects with `snapshot_missing` or `snapshot_damaged`. */
export async function readManifest(folder: string, snapshotID: string): Promise<Manifest> {
  let text: string
  try {
    text = await readFile(`${folder}/${MANIFEST}`, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    throw new SnapshotError('snapshot_missing', `snapshot ${snapshotID} is not on this host`, { cause: error })
  }
  const [digest = '', body = ''] = text.split('\n')
  if (digest !== hash('sha256', body)) {
    throw new SnapshotError(
      'snapshot_damaged',
      `snapshot ${snapshotID}: ${MANIFEST} does not have the digest it was written with`,
    )
  }
  const manifest = JSON.parse(body) as Manifest
  if (manifest.version !== VERSION || manifest.snapshotID !== snapshotID) {
    throw new SnapshotError(
      'snapshot_damaged',
      `snapshot ${snapshotID}: ${MANIFEST} is version ${String(manifest.version)} of ${manifest.snapshotID}, wanted version ${VERSION}`,
    )
  }
  return manifest
}

/** Two lines, the digest and the JSON that it is of. In place at once or not at all, and durable as soon as the folder is synced. */
export async function writeManifest(folder: string, manifest: Manifest): Promise<void> {
  const body = JSON.stringify(manifest)
  await replaceFile(`${folder}/${MANIFEST}`, `${hash('sha256', body)}\n${body}\n`, 0o400)
}
