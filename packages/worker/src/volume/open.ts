// Opens the VM volume: the folder itself where its file system clones by reference, else an XFS file system in a sparse
// file, mounted on the folder; where mounting is refused the plain folder, whose clones are sparse copies.
import { access, mkdir, rm, statfs } from 'node:fs/promises'
import type { Log } from '@lelantos-ai/contract'
import { clone, clonesByReference } from './clone.ts'
import { IMAGE_BYTES_MIN, makeImage, mountImage, mountedImage, unmount } from './image.ts'
import type { Volume } from './volume.ts'

export interface VolumeOptions {
  /** Absolute; made if it is missing. */
  readonly folder: string
  /** Absolute path of the XFS file, outside the folder. Once it exists it is used. */
  readonly image: string
  /** Of a new image: half of what is free unless given. It does not grow. */
  readonly sizeBytes?: number
  /** Bytes to keep free, on the volume and on the file system under it. */
  readonly reserveBytes: number
  readonly log: Log
}

export interface OpenVolume extends Volume {
  /** Takes the mount down. Rejects, naming the processes, while something uses it. */
  close(): Promise<void>
}

/** Folders that everyone finds there. */
const FOLDERS = ['snapshots', 'machines', 'engines']

export async function openVolume(options: VolumeOptions): Promise<OpenVolume> {
  const { folder, image, log } = options
  if (options.sizeBytes !== undefined && options.sizeBytes < IMAGE_BYTES_MIN) {
    throw new Error(`a VM volume must be at least ${IMAGE_BYTES_MIN} bytes, got ${options.sizeBytes}`)
  }
  await mkdir(folder, { recursive: true, mode: 0o711 })
  let mounted = await mountedImage(folder)
  if (mounted === undefined && ((await exists(image)) || !(await clonesByReference(folder)))) {
    mounted = await tryImage(options)
  }
  const reflink = await clonesByReference(folder)
  for (const name of FOLDERS) await mkdir(`${folder}/${name}`, { recursive: true, mode: 0o711 })
  log.info({ folder, image: mounted, reflink }, 'the VM volume is open')
  return {
    root: folder,
    reflink,
    clone: (from, to) => clone(from, to, reflink),
    room: async () => {
      // A sparse image promises more than the file system under it may have.
      const free = [await freeBytes(folder), ...(mounted === undefined ? [] : [await freeBytes(parent(image))])]
      return Math.min(...free) - options.reserveBytes
    },
    close: async () => {
      if (mounted !== undefined) await unmount(folder)
    },
  }
}

/** Bytes that an unprivileged writer may still use. */
async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path)
  return bavail * bsize
}

/** Mounts the image, making it first if need be; `undefined` where this host lets nobody mount. */
async function tryImage(options: VolumeOptions): Promise<string | undefined> {
  const { folder, image, log } = options
  const isNew = !(await exists(image))
  try {
    if (isNew) await makeImage(image, options.sizeBytes ?? Math.floor((await freeBytes(parent(image))) / 2))
    await mountImage(image, folder)
    return image
  } catch (err) {
    // An image that was mounted once holds snapshots: going on without it would lose them from sight.
    if (!isNew) throw err
    await rm(image, { force: true })
    log.warn({ err }, 'no reflink volume can be mounted: disks and memory will be copied')
    return undefined
  }
}

function parent(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/'
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
