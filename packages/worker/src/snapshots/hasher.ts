// Two threads that hash. They start at once, since their start would be half of a pause, and do not keep the process alive.
import { Worker } from 'node:worker_threads'
import type { HashAnswer, HashTask } from './hash-thread.ts'

const THREADS = 2
/** Chunks per task: 32 MiB are some 20 ms, so that a large file does not hold up a small one. */
const TASK_CHUNKS = 16

interface Thread {
  readonly worker: Worker
  readonly pending: Map<number, PromiseWithResolvers<readonly (string | null)[]>>
}

export class Hasher implements AsyncDisposable {
  readonly #threads: Thread[] = []
  #tasks = 0

  constructor() {
    this.#fill()
  }

  /** SHA-256 in hex of these chunks of an open file, in their order; null for one of zeros only. */
  async hash(descriptor: number, chunks: readonly number[]): Promise<(string | null)[]> {
    const tasks: Promise<readonly (string | null)[]>[] = []
    for (let from = 0; from < chunks.length; from += TASK_CHUNKS) {
      tasks.push(this.#submit(descriptor, chunks.slice(from, from + TASK_CHUNKS)))
    }
    // All must have ended before the caller may close the descriptor.
    const results = await Promise.allSettled(tasks)
    return results.flatMap((result) => {
      if (result.status === 'rejected') throw result.reason
      return result.value
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#threads.splice(0).map(({ worker }) => worker.terminate()))
  }

  #submit(descriptor: number, chunks: readonly number[]): Promise<readonly (string | null)[]> {
    const thread = this.#idlest()
    const task = this.#tasks++
    const answer = Promise.withResolvers<readonly (string | null)[]>()
    thread.pending.set(task, answer)
    thread.worker.ref()
    thread.worker.postMessage({ task, descriptor, chunks } satisfies HashTask)
    return answer.promise
  }

  #idlest(): Thread {
    this.#fill()
    return this.#threads.reduce((idlest, thread) => (thread.pending.size < idlest.pending.size ? thread : idlest))
  }

  #fill(): void {
    while (this.#threads.length < THREADS) this.#threads.push(this.#start())
  }

  #start(): Thread {
    const worker = new Worker(new URL('./hash-thread.ts', import.meta.url))
    const thread: Thread = { worker, pending: new Map() }
    worker.unref()
    worker.on('message', ({ task, hashes, error }: HashAnswer) => {
      const answer = thread.pending.get(task)
      thread.pending.delete(task)
      if (thread.pending.size === 0) worker.unref()
      if (hashes) answer?.resolve(hashes)
      else answer?.reject(Object.assign(new Error(error?.message), { code: error?.code }))
    })
    // A thread that dies takes its tasks along; the next task starts another.
    const end = (cause?: unknown) => {
      const index = this.#threads.indexOf(thread)
      if (index >= 0) this.#threads.splice(index, 1)
      for (const answer of thread.pending.values()) answer.reject(new Error('the hash thread has ended', { cause }))
      thread.pending.clear()
    }
    worker.on('error', end)
    worker.on('exit', () => end())
    return thread
  }
}
