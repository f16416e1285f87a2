import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatAddress, overlap, parseNetwork, relayAddress, slotLayout, SLOTS_MAX } from './addresses.ts'

const subnet = parseNetwork('10.201.0.0/16')

describe('networks', () => {
  it('are read as they are written', () => {
    fc.assert(
      fc.property(fc.nat(0xffff_ffff), (address) => {
        expect(parseNetwork(formatAddress(address))).toEqual({ base: address, prefixLength: 32 })
      }),
    )
    expect(formatAddress(parseNetwork('10.201.7.9/16').base)).toBe('10.201.0.0')
  })

  it.each(['', '10.0.0', '10.0.0.256', '10.0.0.0/33', '::1', '10.0.0.0/8 '])('are refused as %j', (text) => {
    expect(() => parseNetwork(text)).toThrow('not an IPv4 network')
  })

  it('overlap when one holds the other, either way', () => {
    expect(overlap(subnet, parseNetwork('10.0.0.0/8'))).toBe(true)
    expect(overlap(parseNetwork('10.201.255.255'), subnet)).toBe(true)
    expect(overlap(subnet, parseNetwork('10.202.0.0/16'))).toBe(false)
  })
})

describe('slots', () => {
  it('have names that fit an interface, and addresses that nothing else has', () => {
    const layouts = Array.from({ length: SLOTS_MAX }, (_, index) => slotLayout('00ff00', subnet, index))
    expect(Math.max(...layouts.map(({ name }) => name.length))).toBeLessThanOrEqual(15)
    const all = layouts.flatMap(({ name, hostAddress, slotAddress }) => [name, hostAddress, slotAddress])
    expect(new Set([...all, relayAddress(subnet)]).size).toBe(3 * SLOTS_MAX + 1)
    expect(slotLayout('00ff00', subnet, 64)).toEqual({
      name: 'lel00ff00s64',
      hostAddress: '10.201.1.1',
      slotAddress: '10.201.1.2',
    })
    expect(() => slotLayout('00ff00', subnet, SLOTS_MAX)).toThrow(`0 to ${SLOTS_MAX - 1}, got ${SLOTS_MAX}`)
  })
})
