import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { newID, silentLog } from '@lelantos-ai/contract'
import { Roster, type RosterEntry } from './roster.ts'

let folder: string
let roster: Roster

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lelantos-roster-'))
  roster = await Roster.open(folder, silentLog)
})
afterEach(() => rm(folder, { recursive: true }))

function entry(generation: number, sandboxID = newID('sandbox')): RosterEntry {
  const operation = { operationID: newID('operation'), verb: 'create' } as const
  return { sandboxID, generation, operation, phase: 'running', endAt: null, bootID: 'boot' }
}

describe('the roster', () => {
  it('reads what was written, the last of each', async () => {
    const first = entry(1)
    const second = { ...entry(2), sandboxID: first.sandboxID }
    const other = entry(7)
    await Promise.all([roster.write(first), roster.write(other), roster.write(second)])
    const read = await (await Roster.open(folder, silentLog)).read()
    expect(read.damaged).toEqual([])
    expect(new Set(read.entries)).toEqual(new Set([second, other]))
  })

  it('keeps the order of many writes at once', async () => {
    const sandboxID = newID('sandbox')
    await Promise.all(Array.from({ length: 50 }, (_, n) => roster.write(entry(n + 1, sandboxID))))
    expect((await roster.read()).entries).toMatchObject([{ generation: 50 }])
  })

  it('forgets what was removed', async () => {
    const gone = entry(1)
    await roster.write(gone)
    await roster.remove(gone.sandboxID)
    await roster.remove(gone.sandboxID)
    expect(await roster.read()).toEqual({ entries: [], damaged: [] })
  })

  it('takes a write that was cut off for none', async () => {
    const kept = entry(3)
    await roster.write(kept)
    await writeFile(join(folder, `${kept.sandboxID}.json.new`), '{"sandboxID":')
    expect((await roster.read()).entries).toEqual([kept])
    expect(await readdir(folder)).toEqual([`${kept.sandboxID}.json`])
  })

  it.each([
    ['cut off', '{"sandboxID":'],
    ['of another name', JSON.stringify(entry(1))],
    ['empty', ''],
    ['no object', 'null'],
  ])('says which file is damaged: %s', async (_, text) => {
    const name = `${newID('sandbox')}.json`
    await writeFile(join(folder, name), text)
    expect(await roster.read()).toEqual({ entries: [], damaged: [name] })
  })

  it('lets a write that failed hinder no later one', async () => {
    const sandboxID = newID('sandbox')
    const circular = entry(1, sandboxID) as RosterEntry & { self?: unknown }
    circular.self = circular
    await expect(roster.write(circular)).rejects.toThrow()
    await roster.write(entry(2, sandboxID))
    expect((await roster.read()).entries).toMatchObject([{ generation: 2 }])
  })
})
