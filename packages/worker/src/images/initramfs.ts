// The initramfs: an uncompressed cpio archive (format `newc`, Linux's
// Documentation/driver-api/early-userspace/buffer-format.rst) that holds the guest daemon as /init and the kernel's modules.
// Uncompressed, since the guest's unpacking costs more than the bytes do. The same entries give the same bytes.

export type CpioEntry =
  | { readonly kind: 'file'; readonly path: string; readonly mode: number; readonly content: Uint8Array }
  | { readonly kind: 'folder'; readonly path: string; readonly mode: number }
  | {
      readonly kind: 'character device'
      readonly path: string
      readonly mode: number
      readonly major: number
      readonly minor: number
    }

export interface GuestInitramfs {
  /** The guest daemon: a static executable. */
  readonly init: Uint8Array
  /** Kernel modules by file name, in the order in which they must be loaded. */
  readonly modules: readonly { readonly file: string; readonly content: Uint8Array }[]
}

const FILE_TYPE = { file: 0o100000, folder: 0o040000, 'character device': 0o020000 } as const

/**
 * The archive that a guest starts from: `/init`, `/dev/console` (the kernel opens it before it runs /init), the modules in
 * `/mods` with their names in order, one a line, in `/mods/order`, and `/newroot` for the disk to be mounted on.
 */
export function guestInitramfs({ init, modules }: GuestInitramfs): Buffer {
  const order = modules.map(({ file }) => `${file}\n`).join('')
  return cpio([
    { kind: 'folder', path: 'dev', mode: 0o755 },
    { kind: 'character device', path: 'dev/console', mode: 0o600, major: 5, minor: 1 },
    { kind: 'folder', path: 'newroot', mode: 0o755 },
    { kind: 'folder', path: 'mods', mode: 0o755 },
    { kind: 'file', path: 'mods/order', mode: 0o644, content: Buffer.from(order) },
    ...modules.map(({ file, content }) => ({ kind: 'file', path: `mods/${file}`, mode: 0o644, content }) as const),
    { kind: 'file', path: 'init', mode: 0o755, content: init },
  ])
}

/** Writes the entries in their order: a folder must come before what is in it. Owner root, times 0. */
export function cpio(entries: readonly CpioEntry[]): Buffer {
  const parts: Uint8Array[] = []
  entries.forEach((entry, index) => parts.push(...member(entry, index + 1)))
  parts.push(...member({ kind: 'file', path: 'TRAILER!!!', mode: 0, content: new Uint8Array() }, 0))
  return Buffer.concat(parts)
}

function member(entry: CpioEntry, inode: number): Uint8Array[] {
  if (entry.path.startsWith('/') || entry.path.split('/').includes('..') || entry.path.includes('\0'))
    throw new Error(`a path in an initramfs is relative to its root, got ${JSON.stringify(entry.path)}`)
  const content = entry.kind === 'file' ? entry.content : new Uint8Array()
  const path = Buffer.from(`${entry.path}\0`)
  const device = entry.kind === 'character device' ? [entry.major, entry.minor] : [0, 0]
  const mode = inode === 0 ? 0 : FILE_TYPE[entry.kind] | entry.mode
  // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
  const fields = [
    inode,
    mode,
    0,
    0,
    entry.kind === 'folder' ? 2 : 1,
    0,
    content.length,
    0,
    0,
    ...device,
    path.length,
    0,
  ]
  const header = Buffer.from(
    `070701${fields.map((field) => field.toString(16).padStart(8, '0').toUpperCase()).join('')}`,
  )
  return [header, path, padding(header.length + path.length), content, padding(content.length)]
}

/** Header with name, and content, each end at a multiple of four bytes. */
function padding(length: number): Uint8Array {
  return new Uint8Array((4 - (length % 4)) % 4)
}
