import type { IncomingMessage } from 'node:http'
import { PassThrough } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { limits } from '@lelantos-ai/contract'
import { parseJSON, readBody } from './json.ts'

function body(headers: Record<string, string> = {}): PassThrough & IncomingMessage {
  return Object.assign(new PassThrough(), { headers }) as unknown as PassThrough & IncomingMessage
}

describe('a body', () => {
  it('is read to its end', async () => {
    const stream = body()
    const text = readBody(stream)
    stream.write('{"a":"')
    stream.write(Buffer.from('ü').subarray(0, 1))
    stream.end(Buffer.concat([Buffer.from('ü').subarray(1), Buffer.from('"}')]))
    expect(parseJSON(await text)).toEqual({ a: 'ü' })
  })

  it('that does not come in time is refused', async () => {
    const stream = body()
    stream.write('{')
    await expect(readBody(stream, 20)).rejects.toMatchObject({ refusal: { error: 'request_timeout' } })
  })

  it('that is too long is refused, by what it announces and by what it is', async () => {
    const announced = readBody(body({ 'content-length': String(limits.bodyBytes + 1) }))
    await expect(announced).rejects.toMatchObject({ refusal: { error: 'payload_too_large' } })
    const stream = body()
    const read = readBody(stream)
    stream.write(Buffer.alloc(limits.bodyBytes + 1))
    await expect(read).rejects.toMatchObject({ refusal: { error: 'payload_too_large' } })
  })

  it('that breaks off is nobody’s', async () => {
    const stream = body()
    const read = readBody(stream)
    stream.destroy()
    await expect(read).rejects.toThrow('went away')
  })

  it('counts brackets outside of strings only', () => {
    const text = JSON.stringify({ a: '[{'.repeat(100), b: '\\"[' })
    expect(parseJSON(text)).toEqual(JSON.parse(text))
  })
})
