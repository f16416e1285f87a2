// The framing of Connect's streams: one byte of flags, four bytes of length (big endian), then that many bytes of JSON.
// Flag 1 marks a compressed message, which is never asked for; flag 2 marks the last one, which carries the error if any.
import { concatenate } from '../bytes.ts'
import { ConnectionError, LelantosError } from '../errors.ts'

const HEADER_BYTES = 5
/** The guest is not trusted to say how much memory its next message takes here. */
const ENVELOPE_BYTES_MAX = 64 * 1024 * 1024

export interface Envelope {
  readonly last: boolean
  readonly message: unknown
}

export function encodeEnvelope(message: unknown): Uint8Array<ArrayBuffer> {
  const body = new TextEncoder().encode(JSON.stringify(message))
  const bytes = new Uint8Array(HEADER_BYTES + body.length)
  new DataView(bytes.buffer).setUint32(1, body.length)
  bytes.set(body, HEADER_BYTES)
  return bytes
}

/** Envelopes of a stream, however its chunks are cut. Throws `ConnectionError` when it ends inside one or before the last. */
export async function* envelopes(stream: ReadableStream<Uint8Array>): AsyncGenerator<Envelope, void, void> {
  const reader = stream.getReader()
  const input = new Input(reader)
  let whole = false
  try {
    for (;;) {
      const header = await input.take(HEADER_BYTES)
      const view = new DataView(header.buffer, header.byteOffset, header.byteLength)
      const flags = view.getUint8(0)
      const length = view.getUint32(1)
      if ((flags & 1) !== 0) throw invalid('a compressed message, which was not asked for')
      if (length > ENVELOPE_BYTES_MAX) throw invalid(`a message of ${length} bytes, the limit is ${ENVELOPE_BYTES_MAX}`)
      const last = (flags & 2) !== 0
      const message = parse(await input.take(length))
      whole = last
      yield { last, message }
      if (last) return
    }
  } finally {
    // After the last message only the end of the body can come, and reading it keeps the connection for the next request.
    // A reader that stops in the middle gives the connection up. What either says is of no interest any more.
    const rest = whole ? reader.read() : Promise.resolve({ done: false })
    void rest.then((next) => (next.done ? undefined : reader.cancel())).catch(() => {})
  }
}

/** Takes exact numbers of bytes from chunks of any size, copying each byte at most twice. */
class Input {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  #chunks: Uint8Array[] = []
  #length = 0

  constructor(reader: ReadableStreamDefaultReader<Uint8Array>) {
    this.#reader = reader
  }

  async take(length: number): Promise<Uint8Array> {
    while (this.#length < length) {
      const next = await this.#reader.read()
      if (next.done) {
        throw new ConnectionError('the stream from the sandbox ended before its last message', {
          code: 'connection_failed',
        })
      }
      this.#chunks.push(next.value)
      this.#length += next.value.length
    }
    const first = this.#chunks[0]
    const whole = first !== undefined && first.length >= length ? first : concatenate(this.#chunks, this.#length)
    const taken = whole.subarray(0, length)
    const rest = whole.subarray(length)
    this.#chunks = whole === first ? this.#chunks.slice(1) : []
    if (rest.length > 0) this.#chunks.unshift(rest)
    this.#length -= length
    return taken
  }
}

function parse(bytes: Uint8Array): unknown {
  try {
    return bytes.length === 0 ? {} : JSON.parse(new TextDecoder().decode(bytes))
  } catch (cause) {
    throw invalid('a message that is not JSON', cause)
  }
}

function invalid(what: string, cause?: unknown): LelantosError {
  return new LelantosError(`the sandbox sent ${what}`, { code: 'invalid_reply', cause })
}
