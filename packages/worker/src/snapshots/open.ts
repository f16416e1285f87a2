// The sealed snapshots in a folder of the VM volume:
//
//   snapshots/<snapshotID>/manifest.json, and the files it names
//   snapshots/.<snapshotID>-<random>/      being written or being deleted; what is left of it at a start is removed
import { randomUUID } from 'node:crypto'
import { chmod, chown, mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import { seal as encrypt, unseal, type Log } from '@lelantos-ai/contract'
import type { Saved } from '../engines/engine.ts'
import { syncFolder } from '../host/durable.ts'
import { Hasher } from './hasher.ts'
import { manifestFiles, newManifest, readManifest, writeManifest, type Manifest } from './manifest.ts'
import { assertFits } from './must-fit.ts'
import { sealFile } from './seal.ts'
import { SnapshotError, type Draft, type SealedSnapshot, type Snapshots } from './snapshots.ts'
import { isUntouched, verifyFile } from './verify.ts'

export interface SnapshotsOptions {
  /** Root of the VM volume. */
  readonly root: string
  /** 32 bytes: encrypts what opens a guest's control routes. */
  readonly installationKey: Uint8Array
  readonly log: Log
}

export interface OpenSnapshots extends Snapshots, AsyncDisposable {
  /** Reads and hashes every file of every snapshot; resolves with what is damaged. */
  scrub(): Promise<readonly SnapshotError[]>
}

/** Ids stand in paths: what is no id is refused before it does. */
const ID = /^[a-z0-9]{1,64}$/

/** Removes what an interrupted run has left half written. One worker at a time uses a volume. */
export async function openSnapshots(options: SnapshotsOptions): Promise<OpenSnapshots> {
  const snapshots = new SnapshotFolder(options)
  await snapshots.sweep()
  return snapshots
}

class SnapshotFolder implements OpenSnapshots {
  readonly #root: string
  readonly #key: Uint8Array
  readonly #log: Log
  readonly #hasher = new Hasher()

  constructor({ root, installationKey, log }: SnapshotsOptions) {
    this.#root = `${root}/snapshots`
    this.#key = installationKey
    this.#log = log
  }

  async begin(snapshotID: string): Promise<Draft> {
    const folder = this.#hidden(snapshotID)
    try {
      await mkdir(folder, { mode: 0o700 })
    } catch (error) {
      throw explained(snapshotID, error)
    }
    // After `seal` has renamed it there is nothing under this name.
    return { folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) }
  }

  async seal(draft: Draft, saved: Saved, about: Parameters<Snapshots['seal']>[2]): Promise<SealedSnapshot> {
    const snapshotID = /\/\.([a-z0-9]+)-[^/]+$/.exec(draft.folder)?.[1] ?? ''
    const folder = this.#folder(snapshotID)
    if (!saved.memory || !saved.state)
      throw new Error(`snapshot ${snapshotID} has no memory, so nothing can be restored`)
    const files = [saved.memory, saved.state, ...saved.disks]
    try {
      // A VMM that could write into it no longer can: what is sealed below is what the names lead to.
      await chown(draft.folder, 0, 0)
      await chmod(draft.folder, 0o700)
      const entries = await Promise.all(files.map((file) => sealFile(draft.folder, file, this.#hasher)))
      const [memory, state, ...disks] = entries
      if (!memory || !state) throw new Error('unreachable: two files were sealed')
      const manifest = newManifest({
        snapshotID,
        buildID: about.buildID,
        createdAt: new Date().toISOString(),
        madeWith: about.madeWith,
        mustFit: saved.world,
        controlSecret: encrypt(this.#key, context(snapshotID), about.controlSecret),
        memory,
        state,
        disks,
      })
      await writeManifest(draft.folder, manifest)
      await syncFolder(draft.folder)
      await rename(draft.folder, folder) // fails where one is sealed already: it is not empty
      await syncFolder(this.#root)
      return await this.#sealed(folder, manifest)
    } catch (error) {
      throw explained(snapshotID, error)
    }
  }

  async open(snapshotID: string): Promise<SealedSnapshot> {
    const folder = this.#folder(snapshotID)
    const manifest = await readManifest(folder, snapshotID)
    const untouched = await Promise.all(manifestFiles(manifest).map((entry) => isUntouched(snapshotID, folder, entry)))
    if (untouched.every(Boolean)) return this.#sealed(folder, manifest)
    this.#log.warn({ snapshotID }, 'files of a snapshot are not those that were sealed: they are hashed again')
    return this.#sealed(folder, await this.#verify(folder, manifest))
  }

  mustFit(snapshot: SealedSnapshot, world: SealedSnapshot['world']): void {
    assertFits(snapshot.snapshotID, snapshot.world, world)
  }

  async delete(snapshotID: string): Promise<void> {
    const hidden = this.#hidden(snapshotID)
    try {
      // At once or not at all: a snapshot half deleted would look damaged.
      await rename(this.#folder(snapshotID), hidden)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
      throw error
    }
    await rm(hidden, { recursive: true, force: true })
  }

  async list(): Promise<readonly string[]> {
    return (await readdir(this.#root)).filter((name) => ID.test(name))
  }

  async scrub(): Promise<readonly SnapshotError[]> {
    const damages: SnapshotError[] = []
    for (const snapshotID of await this.list()) {
      const folder = this.#folder(snapshotID)
      try {
        const manifest = await readManifest(folder, snapshotID)
        for (const entry of manifestFiles(manifest)) {
          await isUntouched(snapshotID, folder, entry)
          await verifyFile(snapshotID, folder, entry, this.#hasher)
        }
      } catch (error) {
        if (!(error instanceof SnapshotError)) throw error
        // One that was deleted meanwhile is not damaged.
        if (error.code !== 'snapshot_missing') damages.push(error)
      }
    }
    return damages
  }

  /** Drafts and deletions of a run that was interrupted. */
  async sweep(): Promise<void> {
    await mkdir(this.#root, { recursive: true })
    // A VMM reaches the files of a snapshot by links in its machine's folder; here no user but root may look.
    await chmod(this.#root, 0o700)
    for (const name of await readdir(this.#root)) {
      if (name.startsWith('.')) await rm(`${this.#root}/${name}`, { recursive: true, force: true })
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#hasher[Symbol.asyncDispose]()
  }

  /** Hashes all again, and writes down what the files are now, so that the next restore need not. */
  async #verify(folder: string, manifest: Manifest): Promise<Manifest> {
    const verify = (entry: Manifest['memory']) => verifyFile(manifest.snapshotID, folder, entry, this.#hasher)
    const verified = {
      ...manifest,
      memory: await verify(manifest.memory),
      state: await verify(manifest.state),
      disks: await Promise.all(manifest.disks.map(verify)),
    }
    await writeManifest(folder, verified)
    await syncFolder(folder)
    return verified
  }

  async #sealed(folder: string, manifest: Manifest): Promise<SealedSnapshot> {
    const { snapshotID } = manifest
    const sizes = await Promise.all(
      manifestFiles(manifest).map(async ({ name }) => (await stat(`${folder}/${name}`)).blocks * 512),
    )
    return {
      snapshotID,
      buildID: manifest.buildID,
      madeWith: manifest.madeWith,
      world: manifest.mustFit,
      memory: `${folder}/${manifest.memory.name}`,
      state: `${folder}/${manifest.state.name}`,
      disks: manifest.disks.map((disk) => `${folder}/${disk.name}`),
      controlSecret: unseal(this.#key, context(snapshotID), manifest.controlSecret),
      createdAt: new Date(manifest.createdAt),
      bytes: sizes.reduce((sum, size) => sum + size, 0),
    }
  }

  #folder(snapshotID: string): string {
    if (!ID.test(snapshotID)) throw new Error(`not the id of a snapshot: ${JSON.stringify(snapshotID)}`)
    return `${this.#root}/${snapshotID}`
  }

  #hidden(snapshotID: string): string {
    const folder = this.#folder(snapshotID)
    return folder.replace(/[^/]+$/, (name) => `.${name}-${randomUUID()}`)
  }
}

function context(snapshotID: string): string {
  return `control:${snapshotID}`
}

/** A full disk has a code of its own: the sandbox goes on running, and its owner is told. */
function explained(snapshotID: string, error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error
  return new SnapshotError('disk_full', `snapshot ${snapshotID} does not fit: the VM volume is full`, { cause: error })
}
