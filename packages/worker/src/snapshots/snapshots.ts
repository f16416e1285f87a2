import type { Saved, Snapshot, World } from '../engines/engine.ts'

/** What a snapshot was made with: decides when a template's memory is made anew, and never blocks a resume. */
export interface MadeWith {
  readonly kernel: string
  readonly guest: string
  readonly image: string
}

export interface SealedSnapshot extends Snapshot {
  readonly buildID: string
  readonly madeWith: MadeWith
  /** Opens the guest's control routes (`/init`); encrypted in the manifest. */
  readonly controlSecret: string
  readonly createdAt: Date
  /** Bytes that its files take on the volume, shared ones included. */
  readonly bytes: number
}

/** A snapshot being written: a folder under a temporary name, which `seal` renames and disposal deletes. */
export interface Draft extends AsyncDisposable {
  readonly folder: string
}

/** The sealed snapshots on this host. A folder each, self-contained: what two of them share is a hard link. */
export interface Snapshots {
  begin(snapshotID: string): Promise<Draft>
  /** Hashes what changed, syncs, makes the files immutable, writes the manifest last and renames. After it resolves, a power cut loses nothing. */
  seal(
    draft: Draft,
    saved: Saved,
    about: { buildID: string; madeWith: MadeWith; controlSecret: string },
  ): Promise<SealedSnapshot>
  /**
   * Opens one for a restore: its size, inode and times are those of the manifest, or its chunks are hashed again. Rejects
   * with `SnapshotError`: `snapshot_missing`, `snapshot_damaged` (a bit flipped, a file truncated; names file and chunk).
   */
  open(snapshotID: string): Promise<SealedSnapshot>
  /** Rejects with `does_not_fit`, naming the field, when a restore in this world would not work. */
  mustFit(snapshot: SealedSnapshot, world: World): void
  /** Idempotent. */
  delete(snapshotID: string): Promise<void>
  list(): Promise<readonly string[]>
}

export class SnapshotError extends Error {
  readonly code: 'snapshot_missing' | 'snapshot_damaged' | 'does_not_fit' | 'disk_full'
  constructor(code: SnapshotError['code'], message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'SnapshotError'
    this.code = code
  }
}
