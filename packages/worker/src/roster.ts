// The roster: what this worker holds, a JSON file for each sandbox. It alone maps a sandbox to a machine. An entry is on
// disk before the worker acts on it, and again, with the outcome, before the worker answers; so a worker that was killed
// in between knows what it may have begun, and a repeated order gets the answer of the first.
//
// Nothing secret is in it: the environment of a create comes again with the repeated order.
import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { EndReason, Log, Outcome, Verb } from '@lelantos-ai/contract'
import type { Handle, Shape } from './engines/engine.ts'
import { DRAFT_SUFFIX, syncFolder, writeDurably } from './host/durable.ts'

export interface RosterEntry {
  readonly sandboxID: string
  readonly generation: number
  readonly operation: {
    readonly operationID: string
    readonly verb: Verb
    /** Of a pause: the snapshot that it makes. */
    readonly snapshotID?: string
    /** Absent while it is under way, or when the worker was killed meanwhile. */
    readonly outcome?: Outcome
  }
  readonly phase: 'moving' | 'running' | 'paused' | 'ended'
  /** What the sandbox was made from; absent where only its end is known. */
  readonly origin?: { readonly templateID: string; readonly buildID: string; readonly shape: Shape }
  /** ISO 8601; null never. */
  readonly endAt: string | null
  /** The boot of the host that the machine belongs to. */
  readonly bootID: string
  readonly machine?: {
    readonly machineID: string
    /** The snapshot that it was restored from, and whose files it is over. */
    readonly from: string
    /** Absent until it has been handed over. */
    readonly held?: { readonly slotIndex: number; readonly handle: Handle }
  }
  /** What a resume starts from. Kept while the sandbox runs on it. */
  readonly snapshotID?: string
  readonly ended?: {
    readonly reason: EndReason
    readonly message: string
    readonly at: string
    /** Whether the server knows. */
    readonly reported: boolean
  }
}

export interface RosterRead {
  readonly entries: readonly RosterEntry[]
  /** Files that could not be read: what they name is unknown, so nothing may be deleted for want of a name. */
  readonly damaged: readonly string[]
}

export class Roster {
  readonly #folder: string
  readonly #log: Log
  /** Writes to one file follow one another. */
  readonly #writes = new Map<string, Promise<void>>()

  private constructor(folder: string, log: Log) {
    this.#folder = folder
    this.#log = log
  }

  static async open(folder: string, log: Log): Promise<Roster> {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    return new Roster(folder, log)
  }

  async read(): Promise<RosterRead> {
    const entries: RosterEntry[] = []
    const damaged: string[] = []
    for (const name of (await readdir(this.#folder)).sort()) {
      if (name.endsWith(DRAFT_SUFFIX)) {
        // A write that did not come to its rename never happened.
        await rm(join(this.#folder, name), { force: true })
        continue
      }
      if (!name.endsWith('.json')) continue
      try {
        const entry = JSON.parse(await readFile(join(this.#folder, name), 'utf8')) as RosterEntry
        if (`${entry.sandboxID}.json` !== name || !Number.isInteger(entry.generation) || !entry.operation.operationID)
          throw new Error('it is not an entry of this name')
        entries.push(entry)
      } catch (err) {
        this.#log.error({ err, file: name }, 'a roster entry cannot be read')
        damaged.push(name)
      }
    }
    return { entries, damaged }
  }

  /** Resolves when a power cut would lose nothing of it. */
  write(entry: RosterEntry): Promise<void> {
    const path = join(this.#folder, `${entry.sandboxID}.json`)
    return this.#after(entry.sandboxID, () => writeDurably(path, JSON.stringify(entry), 0o600))
  }

  remove(sandboxID: string): Promise<void> {
    return this.#after(sandboxID, async () => {
      await rm(join(this.#folder, `${sandboxID}.json`), { force: true })
      await syncFolder(this.#folder)
    })
  }

  #after(sandboxID: string, step: () => Promise<void>): Promise<void> {
    const previous = this.#writes.get(sandboxID) ?? Promise.resolve()
    const mine = previous.catch(() => {}).then(step) // the one who asked for the previous write hears of its failure
    this.#writes.set(sandboxID, mine)
    const forget = () => {
      if (this.#writes.get(sandboxID) === mine) this.#writes.delete(sandboxID)
    }
    mine.then(forget, forget)
    return mine
  }
}
