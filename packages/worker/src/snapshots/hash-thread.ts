// Hashes chunks of files away from the worker's event loop. The descriptor is the process's own: the main thread keeps it
// open until the answer is there.
import { hash } from 'node:crypto'
import { readSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'
import { CHUNK_BYTES } from './manifest.ts'

export interface HashTask {
  readonly task: number
  readonly descriptor: number
  /** Numbers of the chunks to hash. */
  readonly chunks: readonly number[]
}

export interface HashAnswer {
  readonly task: number
  /** In the order asked for; null for a chunk that holds nothing but zeros. */
  readonly hashes?: readonly (string | null)[]
  readonly error?: { readonly code: string | undefined; readonly message: string }
}

const buffer = Buffer.alloc(CHUNK_BYTES)
const zeros = Buffer.alloc(CHUNK_BYTES)

parentPort?.on('message', ({ task, descriptor, chunks }: HashTask) => {
  let answer: HashAnswer
  try {
    answer = { task, hashes: chunks.map((chunk) => hashChunk(descriptor, chunk)) }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    answer = { task, error: { code, message } }
  }
  parentPort?.postMessage(answer)
})

function hashChunk(descriptor: number, chunk: number): string | null {
  let filled = 0
  while (filled < CHUNK_BYTES) {
    const count = readSync(descriptor, buffer, filled, CHUNK_BYTES - filled, chunk * CHUNK_BYTES + filled)
    if (count === 0) break
    filled += count
  }
  const bytes = buffer.subarray(0, filled)
  return bytes.equals(zeros.subarray(0, filled)) ? null : hash('sha256', bytes)
}
