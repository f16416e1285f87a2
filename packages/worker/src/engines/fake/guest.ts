// The guest of a fake machine: a JSON file in the machine's folder. It counts while the machine runs, remembers one text in
// its memory, and has files on its disk of which only a hash exists. Like a real one it outlives the worker.
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ProcessIdentity, sendSignal } from '../../host/process.ts'
import type { Exit } from '../engine.ts'

export interface GuestState {
  readonly vmm: ProcessIdentity
  readonly running: boolean
  /** What it had counted when it last started or stopped, and when that was. */
  readonly counted: number
  readonly at: number
  readonly remembered: string
  /** Hashes by name. */
  readonly files: Readonly<Record<string, string>>
  readonly ended?: Exit['reason']
}

/** Counts per second. */
const RATE = 100

export class FakeGuest {
  readonly #file: string

  /** The guest of the machine that lives in this folder. */
  constructor(folder: string) {
    this.#file = join(folder, 'guest.json')
  }

  /** Grows while the machine runs. */
  counter(): number {
    const state = this.#answer()
    return counted(state)
  }

  /** Fills its memory with something new and returns its hash. */
  remember(): string {
    const remembered = randomHash()
    this.change(this.#answer(), { remembered })
    return remembered
  }

  recall(): string {
    return this.#answer().remembered
  }

  /** Writes a file of random content and returns its hash. */
  write(name: string): string {
    const state = this.#answer()
    const hash = randomHash()
    this.change(state, { files: { ...state.files, [name]: hash } })
    return hash
  }

  hash(name: string): string | undefined {
    return this.#answer().files[name]
  }

  powerOff(): void {
    this.#end('guest_shutdown')
  }

  reboot(): void {
    this.#end('guest_reset')
  }

  /** For the engine alone, as what follows. */
  state(): GuestState {
    return JSON.parse(readFileSync(this.#file, 'utf8')) as GuestState
  }

  change(state: GuestState, change: Partial<GuestState>): void {
    writeFileSync(`${this.#file}.new`, JSON.stringify({ ...state, ...change }))
    renameSync(`${this.#file}.new`, this.#file)
  }

  setRunning(running: boolean): void {
    const state = this.state()
    this.change(state, { running, counted: counted(state), at: Date.now() })
  }

  #end(ended: Exit['reason']): void {
    const state = this.#answer()
    this.change(state, { ended })
    sendSignal(state.vmm, 'SIGKILL')
  }

  #answer(): GuestState {
    const state = this.state()
    if (!state.running) throw new Error('the guest is stopped and answers nothing')
    return state
  }
}

export function counted(state: GuestState): number {
  return state.counted + (state.running ? Math.floor(((Date.now() - state.at) * RATE) / 1000) : 0)
}

function randomHash(): string {
  return createHash('sha256').update(randomBytes(16)).digest('hex')
}
