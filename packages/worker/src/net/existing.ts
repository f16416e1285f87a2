// What slots of an installation are on this host, found by their names, and how they are taken off it.
import { readdir } from 'node:fs/promises'
import { command, CommandError } from '../host/command.ts'
import { slotPrefix } from './addresses.ts'

const COMMAND_MS = 30_000

/** Indexes of the slots that have a netns or a veth pair, half made ones included. */
export async function existingSlots(installation: string): Promise<number[]> {
  const names = [...(await entries('/run/netns')), ...(await entries('/sys/class/net'))]
  const pattern = new RegExp(`^${slotPrefix(installation)}(\\d+)$`)
  return [...new Set(names.flatMap((name) => pattern.exec(name)?.[1] ?? []).map(Number))].toSorted((a, b) => a - b)
}

/** Removes slots; those that are not there are none. */
export async function deleteSlots(installation: string, indexes: readonly number[]): Promise<void> {
  if (indexes.length === 0) return
  const names = indexes.map((index) => `${slotPrefix(installation)}${index}`)
  // The veth pairs go first, since a netns lives on while a process is in it.
  const lines = [...names.map((name) => `link del ${name}`), ...names.map((name) => `netns del ${name}`)]
  try {
    await command('ip', ['-force', '-batch', '-'], { deadlineMs: COMMAND_MS, input: `${lines.join('\n')}\n` })
  } catch (error) {
    // With -force every line is tried, and one that finds nothing makes it fail: what counts is what is left.
    const left = new Set(await existingSlots(installation))
    if (!(error instanceof CommandError) || indexes.some((index) => left.has(index))) throw error
  }
}

async function entries(folder: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}
