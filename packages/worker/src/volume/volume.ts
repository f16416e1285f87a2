/** The file system that VM files live on, apart from the rest of the state folder, so that no guest can fill the disk under PostgreSQL. */
export interface Volume {
  /** Absolute path of its root. Folders in it: `snapshots/`, `machines/`, `engines/`. */
  readonly root: string
  /** Whether files are cloned by reference (FICLONE): then a clone costs milliseconds and no space. */
  readonly reflink: boolean
  /** Copies a file, by reference where possible, else sparsely. The target must not exist. */
  clone(from: string, to: string): Promise<void>
  /** Bytes free above the reserve; negative when it is eaten into. */
  room(): Promise<number>
}
