import { expect, it } from 'vitest'
import { base64FromBytes, bytesFromBase64 } from './bytes.ts'

it('has every byte in base64 and back, at lengths around its blocks', () => {
  for (const length of [0, 1, 2, 3, 255, 8191, 8192, 8193, 300_000]) {
    const bytes = Uint8Array.from({ length }, (_, n) => (n * 31) & 0xff)
    expect(base64FromBytes(bytes)).toBe(Buffer.from(bytes).toString('base64'))
    expect(Buffer.from(bytesFromBase64(base64FromBytes(bytes))).equals(bytes)).toBe(true)
  }
})
