// Files that a power cut leaves whole or absent: written under another name, synced, renamed, and the folder synced, since
// a name is the folder's content.
import { randomBytes } from 'node:crypto'
import { open, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'

/** What the names of files end in that are being written; one that a killed process has left never happened. */
export const DRAFT_SUFFIX = '.new'

/** Resolves when the text is under that name for good. Rejects, the file being as it was, when it could not be written. */
export async function writeDurably(path: string, text: string, mode: number): Promise<void> {
  await replaceFile(path, text, mode)
  await syncFolder(dirname(path))
}

/** `writeDurably` for who syncs the folder later, with other files of it. */
export async function replaceFile(path: string, text: string, mode: number): Promise<void> {
  const draft = `${path}.${randomBytes(4).toString('hex')}${DRAFT_SUFFIX}`
  try {
    await writeFile(draft, text, { mode, flag: 'wx', flush: true })
    await rename(draft, path)
  } catch (error) {
    await rm(draft, { force: true })
    throw error
  }
}

/** Makes the names in a folder durable. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
