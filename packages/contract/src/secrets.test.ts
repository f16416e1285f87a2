import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { API_KEY_PATTERN, idPattern, newID, newMachineID } from './ids.ts'
import { envdAccessToken, equalSecrets, hashAPIKey, seal, unseal } from './secrets.ts'

const key = randomBytes(32)

describe('secrets', () => {
  it('opens what it sealed, in its own context only', () => {
    const sealed = seal(key, 'sbx1', '{"A":"ü"}')
    expect(unseal(key, 'sbx1', sealed)).toBe('{"A":"ü"}')
    expect(() => unseal(key, 'sbx2', sealed)).toThrow()
    expect(() => unseal(randomBytes(32), 'sbx1', sealed)).toThrow()
    const bytes = Buffer.from(sealed, 'base64')
    bytes[30] = (bytes[30] ?? 0) ^ 1
    expect(() => unseal(key, 'sbx1', bytes.toString('base64'))).toThrow()
  })

  it('knows a key behind either prefix', () => {
    const body = randomBytes(20).toString('hex')
    expect(`lel_${body}`).toMatch(new RegExp(API_KEY_PATTERN))
    expect(hashAPIKey(`lel_${body}`)).toBe(hashAPIKey(`e2b_${body}`))
  })

  it('derives a token per sandbox, and compares', () => {
    expect(envdAccessToken(key, 'a')).toBe(envdAccessToken(key, 'a'))
    expect(envdAccessToken(key, 'a')).not.toBe(envdAccessToken(key, 'b'))
    expect(equalSecrets('a', 'a')).toBe(true)
    expect(equalSecrets('a', 'ab')).toBe(false)
  })
})

describe('ids', () => {
  it('fit a host label and an interface name', () => {
    for (let n = 0; n < 200; n++) {
      expect(newID('sandbox')).toMatch(new RegExp(idPattern('sandbox')))
      expect(newID('sandbox')).toMatch(/^[a-z0-9]+$/)
      expect(newMachineID('0a1b2c')).toMatch(/^0a1b2c[a-z0-9]{8}$/)
    }
  })
})
