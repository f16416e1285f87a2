import { describe, expect, it } from 'vitest'
import { concatenate } from '../bytes.ts'
import { encodeEnvelope, type Envelope, envelopes } from './envelope.ts'

function streamOf(bytes: Uint8Array, piece: number): ReadableStream<Uint8Array> {
  let at = 0
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) controller.close()
      else controller.enqueue(bytes.subarray(at, (at += piece)))
    },
  })
}

function last(message: unknown): Uint8Array {
  const bytes = encodeEnvelope(message)
  bytes[0] = 2
  return bytes
}

async function all(stream: ReadableStream<Uint8Array>): Promise<Envelope[]> {
  const read: Envelope[] = []
  for await (const envelope of envelopes(stream)) read.push(envelope)
  return read
}

const messages = [{ a: 'ü€😀' }, {}, { long: 'x'.repeat(3000) }]
const parts = [...messages.map(encodeEnvelope), last({ error: { code: 'x' } })]
const whole = concatenate(
  parts,
  parts.reduce((sum, part) => sum + part.length, 0),
)

describe('envelopes', () => {
  it('reads the same however the stream is cut', async () => {
    const expected = [
      ...messages.map((message) => ({ last: false, message })),
      { last: true, message: { error: { code: 'x' } } },
    ]
    for (const piece of [1, 2, 3, 4, 5, 6, 7, 11, 64, 1000, whole.length]) {
      expect(await all(streamOf(whole, piece))).toEqual(expected)
    }
  })

  it('says when a stream ends inside an envelope, or before the last', async () => {
    for (const length of [0, 3, 5, 9, (parts[0]?.length ?? 0) + 2, whole.length - 1]) {
      await expect(all(streamOf(whole.subarray(0, length), 4))).rejects.toMatchObject({ code: 'connection_failed' })
    }
  })

  it('refuses what a guest must not send: compression, gigabytes, other than JSON', async () => {
    const huge = Uint8Array.of(0, 0xff, 0xff, 0xff, 0xff)
    await expect(all(streamOf(huge, 5))).rejects.toThrow('4294967295 bytes, the limit is 67108864')
    await expect(all(streamOf(Uint8Array.of(1, 0, 0, 0, 0), 5))).rejects.toThrow('compressed')
    await expect(all(streamOf(Uint8Array.of(0, 0, 0, 0, 1, 0x7b), 6))).rejects.toMatchObject({ code: 'invalid_reply' })
  })

  it('gives the connection up when its reader stops', async () => {
    let cancelled = false
    const stream = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(encodeEnvelope({})),
      cancel: () => void (cancelled = true),
    })
    for await (const envelope of envelopes(stream)) if (!envelope.last) break
    await expect.poll(() => cancelled).toBe(true)
  })
})
