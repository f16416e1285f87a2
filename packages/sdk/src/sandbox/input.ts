// What can be fed to a command: read piece by piece, and let go of in the middle of a read when the command has ended.

export type InputSource = string | Uint8Array | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array | string>

/** Large enough to cost few requests, small enough for the daemon's limit of a message. */
const PIECE_BYTES = 256 * 1024

interface Chunks {
  next(): Promise<{ readonly done?: boolean | undefined; readonly value?: Uint8Array | string | undefined }>
  close(): Promise<unknown>
}

export class Input {
  readonly #chunks: Chunks
  #rest: Uint8Array = new Uint8Array(0)

  constructor(source: InputSource) {
    this.#chunks = open(source)
  }

  /** At most 256 KiB; undefined at the end. Rejects with what the source throws. */
  async next(): Promise<Uint8Array | undefined> {
    while (this.#rest.length === 0) {
      const { done, value } = await this.#chunks.next()
      if (done || value === undefined) return undefined
      this.#rest = typeof value === 'string' ? new TextEncoder().encode(value) : value
    }
    const piece = this.#rest.subarray(0, PIECE_BYTES)
    this.#rest = this.#rest.subarray(PIECE_BYTES)
    return piece
  }

  /** Lets the source go, also while a read waits. What it says to that is of no interest. */
  close(): void {
    void this.#chunks.close().catch(() => {})
  }
}

function open(source: InputSource): Chunks {
  if (source instanceof ReadableStream) {
    // Not by iterating: an iterator would hold the stream until a read that may never end has ended.
    const reader = source.getReader()
    return { next: async () => await reader.read(), close: async () => await reader.cancel() }
  }
  if (typeof source === 'string' || source instanceof Uint8Array) {
    let left: Uint8Array | string | undefined = source
    return {
      next: async () => {
        const value = left
        left = undefined
        return { done: value === undefined, value }
      },
      close: async () => {},
    }
  }
  const iterator = source[Symbol.asyncIterator]()
  return {
    next: async () => (await iterator.next()) as { done?: boolean; value?: Uint8Array | string },
    close: async () => await iterator.return?.(),
  }
}
