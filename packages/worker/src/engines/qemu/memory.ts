// The side of the event loop that asks the copying thread (`memory-thread.ts`). One thread serves an engine: copies run one
// after another, since each of them is bound by what one core can move.
import { Worker } from 'node:worker_threads'
import { EngineError } from '../engine.ts'
import type { CopyReply, CopyRequest, CopyResult } from './memory-thread.ts'

interface Waiting {
  readonly resolve: (result: CopyResult) => void
  readonly reject: (error: EngineError) => void
}

export class MemoryCopier implements Disposable {
  #thread: Worker | undefined
  readonly #waiting = new Map<number, Waiting>()
  #nextID = 1

  /** Starts the thread, so that the first save need not wait for it. It keeps no process alive. */
  constructor() {
    this.#start()
  }

  /** Writes into the clone every page in which the process's memory differs from the base. Rejects with `EngineError`. */
  copy(what: Omit<CopyRequest, 'id'>): Promise<CopyResult> {
    const thread = this.#thread ?? this.#start()
    const id = this.#nextID++
    thread.ref()
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
      thread.postMessage({ ...what, id } satisfies CopyRequest)
    })
  }

  [Symbol.dispose](): void {
    void this.#thread?.terminate()
  }

  #start(): Worker {
    const thread = new Worker(new URL('memory-thread.ts', import.meta.url))
    thread.unref()
    thread.on('message', (reply: CopyReply) => {
      const waiting = this.#waiting.get(reply.id)
      this.#waiting.delete(reply.id)
      if (this.#waiting.size === 0) thread.unref()
      if ('result' in reply) waiting?.resolve(reply.result)
      else waiting?.reject(copyError(reply))
    })
    thread.on('error', (error) => this.#end(thread, error))
    thread.on('exit', () => this.#end(thread, undefined))
    this.#thread = thread
    return thread
  }

  #end(thread: Worker, cause: unknown): void {
    if (this.#thread !== thread) return
    this.#thread = undefined
    for (const waiting of this.#waiting.values()) {
      waiting.reject(new EngineError('the thread that copies memory ended', { cause }))
    }
    this.#waiting.clear()
  }
}

function copyError(reply: { readonly error: string; readonly code: string | undefined }): EngineError {
  // The system's code survives in the cause: a full disk is told apart by it.
  const cause = Object.assign(new Error(reply.error), reply.code === undefined ? {} : { code: reply.code })
  return new EngineError(`changed memory could not be copied: ${reply.error}`, { cause })
}
