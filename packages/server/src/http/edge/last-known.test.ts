import { describe, expect, it } from 'vitest'
import { rememberingLocations } from './last-known.ts'
import type { Location } from './location.ts'

const running: Location = { at: 'running', teamID: 'team1', address: '10.0.0.1', machine: 'one' }

describe('a location', () => {
  it('is remembered while it cannot be asked, for a while, and only while it ran', async () => {
    let now = 0
    let said: Location | Error = running
    const locate = rememberingLocations(
      async () => {
        if (said instanceof Error) throw said
        return said
      },
      () => now,
    )
    expect(await locate('a')).toEqual(running)
    said = new Error('away')
    expect(await locate('a')).toEqual(running)
    await expect(locate('b')).rejects.toThrow('away')
    now = 300_001
    await expect(locate('a')).rejects.toThrow('away')
    said = running
    await locate('a')
    said = { at: 'absent' }
    await locate('a')
    said = new Error('away')
    await expect(locate('a')).rejects.toThrow('away')
  })
})
