// Statements, once a second from each worker: who is connected, what it has built, what it holds.
import { type Statement, Statement as StatementSchema, type WorkerBuild } from '@lelantos-ai/contract'
import { Compile } from 'typebox/compile'
import type { Context } from '../context.ts'
import { noteWorker } from '../store/workers.ts'
import { upsertBuiltIn } from '../templates/built-in.ts'

const schema = Compile(StatementSchema)
/** How often the store is told that a worker is alive. */
const NOTED_EVERY_MS = 5000

/** Listens to statements. One for each server process: it remembers what it has written down. */
export class StatementReader {
  readonly #context: Context
  readonly #notedAt = new Map<string, number>()
  readonly #builds = new Set<string>()

  constructor(context: Context) {
    this.#context = context
  }

  /** Takes a statement. Never throws: the next one is a second away. */
  async read(message: unknown): Promise<void> {
    const { log, workers, clock } = this.#context
    if (!schema.Check(message)) {
      log.warn({ errors: [...schema.Errors(message)].slice(0, 3) }, 'a worker sent a statement that is none')
      return
    }
    const statement: Statement = message
    try {
      const fresh = statement.builds.filter((build) => !this.#builds.has(build.buildID))
      if (fresh.length > 0) await this.#writeBuilds(fresh)
      // Only now is it placed upon: whoever sees the worker finds its builds in the store.
      const before = workers.get(statement.workerID, clock())
      workers.hear(statement, clock())
      if (before === undefined) log.info({ workerID: statement.workerID }, 'a worker is connected')
      await this.#note(statement, before?.statement.bootID)
    } catch (err) {
      log.warn({ err, workerID: statement.workerID }, 'a statement could not be written down')
    }
  }

  async #writeBuilds(builds: readonly WorkerBuild[]): Promise<void> {
    await upsertBuiltIn(this.#context, builds)
    for (const { buildID } of builds) this.#builds.add(buildID)
  }

  async #note(statement: Statement, bootBefore: string | undefined): Promise<void> {
    const now = this.#context.clock()
    const notedAt = this.#notedAt.get(statement.workerID) ?? 0
    if (bootBefore === statement.bootID && now.getTime() - notedAt < NOTED_EVERY_MS) return
    this.#notedAt.set(statement.workerID, now.getTime())
    await noteWorker(this.#context.store, statement, now)
  }
}
