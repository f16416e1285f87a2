// The workers this process has heard of lately, by their statements. A worker that has been silent for
// `limits.workerSilentMs` counts as away: nothing is placed on it, and what it holds is left as it is.
import { limits, type Statement } from '@lelantos-ai/contract'

export interface ConnectedWorker {
  readonly statement: Statement
  /** When this process received it, by its own clock. */
  readonly heardAt: number
  /** Memory given to sandboxes placed here since that statement, in MB. */
  readonly placedMB: number
}

export class ConnectedWorkers {
  readonly #workers = new Map<string, ConnectedWorker>()

  hear(statement: Statement, now: Date): void {
    this.#workers.set(statement.workerID, { statement, heardAt: now.getTime(), placedMB: 0 })
  }

  get(workerID: string, now: Date): ConnectedWorker | undefined {
    const worker = this.#workers.get(workerID)
    return worker !== undefined && now.getTime() - worker.heardAt <= limits.workerSilentMs ? worker : undefined
  }

  list(now: Date): ConnectedWorker[] {
    return [...this.#workers.keys()].flatMap((workerID) => this.get(workerID, now) ?? [])
  }

  /** Remembers what was just placed, until the worker's next statement counts it. */
  reserve(workerID: string, memoryMB: number): void {
    const worker = this.#workers.get(workerID)
    if (worker !== undefined) this.#workers.set(workerID, { ...worker, placedMB: worker.placedMB + memoryMB })
  }
}
