// The disk of one machine: a raw image, overlays above it, the highest of which the guest writes. Every image is a file in
// the machine's folder, those of the snapshot as hard links: deleting a snapshot takes nothing from who runs on it, and
// a save finds all it needs by name. Files are called `disk-<index>`, nodes in QEMU `disk<index>`; an index is used once.
import { chmod, chown, copyFile, constants, link, lstat, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { EngineError, type SavedFile } from '../engine.ts'
import { type ChainImage, nodeName, overlayNode, streamJob } from './command-line.ts'
import type { EmptyOverlays } from './empty-overlays.ts'
import type { Qmp, QmpEvent } from './qmp.ts'

export interface ChainOptions {
  readonly folder: string
  readonly uid: number
  readonly empty: EmptyOverlays
  /** Overlays above the raw image that a save may yield. */
  readonly overlaysMax: number
  /** Where the images of the snapshot are sealed, by their name here. */
  readonly sealed: Readonly<Record<string, string>>
}

const MERGE_MS_MAX = 120_000

export class DiskChain {
  readonly #options: ChainOptions
  #images: readonly ChainImage[]
  /** The highest image is part of a save: before the guest writes again, another must lie above it. */
  #frozen: boolean
  #merge: Promise<string | undefined> | undefined

  constructor(options: ChainOptions, images: readonly ChainImage[], frozen: boolean) {
    this.#options = options
    this.#images = images
    this.#frozen = frozen
  }

  get images(): readonly ChainImage[] {
    return this.#images
  }

  get sealed(): Readonly<Record<string, string>> {
    return this.#options.sealed
  }

  /** Before a boot: the guest writes into the raw image itself, which the VMM's user comes to own. */
  static async boot(options: ChainOptions, disk: string): Promise<DiskChain> {
    const image: ChainImage = { index: 0, file: 'disk-0.raw', format: 'raw' }
    await link(disk, join(options.folder, image.file))
    await chown(join(options.folder, image.file), options.uid, options.uid)
    await chmod(join(options.folder, image.file), 0o600)
    return new DiskChain(options, [image], false)
  }

  /** Before a restore: the snapshot's images, and an empty overlay above them. */
  static async restore(options: Omit<ChainOptions, 'sealed'>, disks: readonly string[]): Promise<DiskChain> {
    const images = disks.map((_, index) => imageNamed(index))
    await Promise.all(disks.map((disk, index) => link(disk, join(options.folder, imageNamed(index).file))))
    const sealed = Object.fromEntries(disks.map((disk, index) => [imageNamed(index).file, disk]))
    const chain = new DiskChain({ ...options, sealed }, images, false)
    chain.#images = [...images, await chain.#addFile(images.length)]
    return chain
  }

  /** After a restart of the worker: what the VMM has open, lowest first, is the chain. */
  static async adopt(options: ChainOptions, qmp: Qmp): Promise<DiskChain> {
    const images = (await openImages(qmp)).map((file) => imageNamed(Number(/(\d+)\.(raw|qcow2)$/.exec(file)?.[1])))
    const top = images.at(-1)
    if (!top) throw new EngineError('the machine has no disk')
    // A save links the highest image: a second name means that it is part of one.
    const chain = new DiskChain(options, images, (await lstat(join(options.folder, top.file))).nlink > 1)
    const jobs = (await qmp.execute('query-block-jobs')) as readonly { device: string }[]
    if (jobs.some((job) => job.device === streamJob)) chain.#follow(qmp)
    else await chain.#removeMerged()
    return chain
  }

  /** Before the guest goes on: a fresh overlay if the highest image must not change any more. */
  async thaw(qmp: Qmp): Promise<void> {
    const top = this.#images.at(-1)
    if (!this.#frozen || !top) return
    const image = await this.#addFile(top.index + 1)
    const node = nodeName(image.index)
    try {
      await qmp.execute('blockdev-add', overlayNode(node, `../${image.file}`))
      await qmp.execute('blockdev-snapshot', { node: nodeName(top.index), overlay: node })
    } catch (error) {
      await qmp.execute('blockdev-del', { 'node-name': node }).catch(() => {})
      await rm(join(this.#options.folder, image.file), { force: true })
      throw error
    }
    this.#images = [...this.#images, image]
    this.#frozen = false
  }

  /** Off the path: starts merging every overlay into the highest one when a save would yield too many. */
  async shorten(qmp: Qmp): Promise<void> {
    const [base] = this.#images
    const top = this.#images.at(-1)
    if (!base || !top || !this.#isTooLong() || this.#merge) return
    this.#follow(qmp)
    try {
      await qmp.execute('block-stream', {
        'job-id': streamJob,
        device: nodeName(top.index),
        'base-node': nodeName(base.index),
      })
    } catch (error) {
      this.#merge = undefined
      throw error
    }
  }

  /** Links the chain into a folder. A machine whose chain is too long waits for its merging first, and tries it once more if that had failed. */
  async saveInto(folder: string, qmp: Qmp): Promise<SavedFile[]> {
    await this.#merge
    if (this.#isTooLong()) {
      await this.shorten(qmp)
      const failure = await this.#merge
      if (this.#isTooLong()) throw new EngineError(`the disk's overlays could not be merged: ${failure}`)
    }
    const saved: SavedFile[] = []
    try {
      for (const [position, image] of this.#images.entries()) {
        const name = imageNamed(position).file
        await link(join(this.#options.folder, image.file), join(folder, name))
        const from = this.#options.sealed[image.file]
        saved.push({ name, ...(from === undefined ? {} : { inherits: { from, changed: [] } }) })
      }
    } catch (error) {
      await Promise.all(saved.map(({ name }) => rm(join(folder, name), { force: true })))
      throw error
    }
    this.#frozen = true
    return saved
  }

  /** Takes back `saveInto` when the rest of a save failed: nothing forbids writing into the highest image any more. */
  async forget(folder: string, saved: readonly SavedFile[]): Promise<void> {
    await Promise.all(saved.map(({ name }) => rm(join(folder, name), { force: true })))
    this.#frozen = false
  }

  #isTooLong(): boolean {
    return this.#images.length - 1 > this.#options.overlaysMax
  }

  async #addFile(index: number): Promise<ChainImage> {
    const { folder, uid, empty } = this.#options
    const image = imageNamed(index)
    const path = join(folder, image.file)
    const size = (await stat(join(folder, imageNamed(0).file))).size
    await copyFile(await empty.ofSize(size), path, constants.COPYFILE_EXCL)
    await chown(path, uid, uid)
    await chmod(path, 0o600)
    return image
  }

  /** Waits for the merging's end in the background; its failure loses nothing, since the overlays stay as they are. */
  #follow(qmp: Qmp): void {
    const end = new Promise<string | undefined>((resolve) => {
      const timer = setTimeout(() => finish(`not done within ${MERGE_MS_MAX} ms`), MERGE_MS_MAX)
      timer.unref()
      const ignore = qmp.onEvent((event) => {
        if (isEndOfMerge(event)) finish(event.data['error'] as string | undefined)
      })
      const finish = (failure: string | undefined) => {
        clearTimeout(timer)
        ignore()
        resolve(failure)
      }
      void qmp.closed.then(() => finish('the machine ended'))
    })
    this.#merge = end
      .then(async (failure) => {
        if (failure === undefined) await this.#dropMerged(qmp)
        return failure
      })
      .catch((error: unknown) => String(error))
      .finally(() => {
        this.#merge = undefined
      })
  }

  async #dropMerged(qmp: Qmp): Promise<void> {
    const merged = this.#images.slice(1, -1)
    this.#images = [...this.#images.slice(0, 1), ...this.#images.slice(-1)]
    // From the top: a node cannot go while another is above it.
    for (const image of merged.toReversed()) {
      await qmp.execute('blockdev-del', { 'node-name': nodeName(image.index) })
      await rm(join(this.#options.folder, image.file), { force: true })
    }
  }

  /** Overlays whose merging ended while nobody looked. */
  async #removeMerged(): Promise<void> {
    const kept = new Set(this.#images.map((image) => image.file))
    for (const name of await readdir(this.#options.folder)) {
      if (name.startsWith('disk-') && !kept.has(name)) await rm(join(this.#options.folder, name))
    }
  }
}

function imageNamed(index: number): ChainImage {
  const format = index === 0 ? 'raw' : 'qcow2'
  return { index, file: `disk-${index}.${format}`, format }
}

function isEndOfMerge(event: QmpEvent): boolean {
  return /^BLOCK_JOB_(COMPLETED|CANCELLED)$/.test(event.event) && event.data['device'] === streamJob
}

interface ImageInfo {
  readonly filename: string
  readonly 'backing-image'?: ImageInfo
}

async function openImages(qmp: Qmp): Promise<string[]> {
  const devices = (await qmp.execute('query-block')) as readonly { inserted?: { image: ImageInfo } }[]
  const files: string[] = []
  for (let image = devices[0]?.inserted?.image; image; image = image['backing-image'])
    files.unshift(fileOf(image.filename))
  return files
}

/** QEMU writes what no plain name stands for, an overlay whose backing was given say, as `json:` and its options. */
function fileOf(name: string): string {
  if (!name.startsWith('json:')) return name
  const { file } = JSON.parse(name.slice('json:'.length)) as { file?: { filename?: string } }
  return file?.filename ?? name
}
