// What set-up makes and machines run from: folders named by the hash of what they were made from, never changed once they
// have their name, so several installations may share them.
import { createHash, randomBytes } from 'node:crypto'
import { mkdir, open, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'

/** What is written into each artifact's folder, last. */
export interface ArtifactManifest {
  readonly name: string
  readonly inputs: string
  /** Names the content: two artifacts that have the same are the same. */
  readonly hash: string
  readonly files: readonly string[]
}

const MANIFEST = 'artifact.json'

/** A hash over parts that cannot run into each other. */
export function hashOf(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(`${part.length}:`).update(part)
  return hash.digest('hex')
}

/** A hash of a folder's files, by name and content. */
export async function hashFolder(folder: string, skip: (path: string) => boolean = () => false): Promise<string> {
  const parts: (string | Uint8Array)[] = []
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const paths = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
  for (const path of paths.toSorted(byCode)) {
    if (skip(path)) continue
    parts.push(path, await readFile(join(folder, path)))
  }
  return hashOf(...parts)
}

/**
 * Makes the folder `<root>/<name>-<first 12 digits of inputs>` unless it is there. `make` fills a folder under a temporary
 * name and says what the content's hash is; it is then renamed. Two processes may do it at once: one wins, both are right.
 */
export async function makeArtifact(
  root: string,
  name: string,
  inputs: string,
  make: (folder: string) => Promise<string>,
): Promise<string> {
  const folder = join(root, `${name}-${inputs.slice(0, 12)}`)
  if (await isArtifact(folder)) return folder
  await mkdir(root, { recursive: true, mode: 0o755 })
  const temporary = temporaryIn(root, folder)
  await mkdir(temporary, { mode: 0o755 })
  try {
    const hash = await make(temporary)
    const files = (await readdir(temporary)).toSorted(byCode)
    const manifest: ArtifactManifest = { name, inputs, hash, files }
    await writeFile(join(temporary, MANIFEST), JSON.stringify(manifest, undefined, 2) + '\n', { flush: true })
    await rename(temporary, folder).catch(async (error: unknown) => {
      if (await isArtifact(folder)) return // another process was faster
      const damaged = temporaryIn(root, folder)
      await rename(folder, damaged)
      await rename(temporary, folder)
      await rm(damaged, { recursive: true })
      if (!(await isArtifact(folder))) throw error
    })
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
  return folder
}

/** A name that no other maker has, and that says who may be waiting for it. */
function temporaryIn(root: string, folder: string): string {
  return join(root, `.new-${process.pid}-${randomBytes(4).toString('hex')}-${basename(folder)}`)
}

/** Reads what an artifact is. Rejects when the folder is not one. */
export async function readArtifact(folder: string): Promise<ArtifactManifest> {
  return JSON.parse(await readFile(join(folder, MANIFEST), 'utf8')) as ArtifactManifest
}

/** Whether the folder is a whole artifact: every file that its manifest lists is there. */
export async function isArtifact(folder: string): Promise<boolean> {
  try {
    const { files } = await readArtifact(folder)
    for (const file of files) await stat(join(folder, file))
    return true
  } catch {
    return false
  }
}

/** Removes what interrupted runs left. A temporary folder whose process lives is another installation's. */
export async function sweepArtifacts(root: string): Promise<void> {
  const names = await readdir(root).catch(() => [])
  for (const name of names) {
    const pid = /^\.new-(\d+)-/.exec(name)?.[1]
    if (pid === undefined || (await alive(Number(pid)))) continue
    await rm(join(root, name), { recursive: true, force: true })
  }
}

async function alive(pid: number): Promise<boolean> {
  if (pid === process.pid) return false
  return stat(`/proc/${pid}`).then(
    () => true,
    () => false,
  )
}

/** SHA-256 of a file, in hex. */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  const file = await open(path)
  for await (const chunk of file.createReadStream({ highWaterMark: 1 << 20 })) hash.update(chunk as Uint8Array)
  return hash.digest('hex')
}

/** The order of code units: the same on every machine, whatever its language. */
export function byCode(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
