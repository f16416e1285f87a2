import { describe, expect, it } from 'vitest'
import type { World } from '../engines/engine.ts'
import { assertFits } from './must-fit.ts'

const made: World = {
  engine: 'paper',
  version: '10.0.2',
  devices: 'a1',
  accelerator: 'tcg',
  cpu: 'max',
  tscKHz: 2_000_000,
  shape: { cpuCount: 2, memoryMB: 512, diskSizeMB: 20_480 },
}

describe('what a snapshot must fit', () => {
  it('is itself, and a host whose TSC rate is within 200 ppm', () => {
    expect(() => assertFits('snp1', made, made)).not.toThrow()
    expect(() => assertFits('snp1', made, { ...made, tscKHz: 2_000_399 })).not.toThrow()
    expect(() => assertFits('snp1', made, { ...made, tscKHz: 1_999_601 })).not.toThrow()
  })

  const { tscKHz: _, ...withoutTSC } = made
  const others: [string, World, string][] = [
    ['engine', { ...made, engine: 'stone' }, 'engine paper, here it is stone'],
    ['version', { ...made, version: '10.1.0' }, 'version 10.0.2, here it is 10.1.0'],
    ['devices', { ...made, devices: 'b2' }, 'devices a1, here it is b2'],
    ['accelerator', { ...made, accelerator: 'kvm' }, 'accelerator tcg, here it is kvm'],
    ['cpu', { ...made, cpu: 'host' }, 'cpu max, here it is host'],
    ['cpuCount', { ...made, shape: { ...made.shape, cpuCount: 4 } }, 'cpuCount 2, here it is 4'],
    ['memoryMB', { ...made, shape: { ...made.shape, memoryMB: 1024 } }, 'memoryMB 512, here it is 1024'],
    ['diskSizeMB', { ...made, shape: { ...made.shape, diskSizeMB: 10 } }, 'diskSizeMB 20480, here it is 10'],
    ['tscKHz', { ...made, tscKHz: 2_000_401 }, 'tscKHz 2000000, here it is 2000401'],
    ['tscKHz where there is none', withoutTSC, 'tscKHz 2000000, here it is none'],
  ]
  it.each(others)('refuses another %s and says so', (_field, here, words) => {
    expect(() => assertFits('snp1', made, here)).toThrow(expect.objectContaining({ code: 'does_not_fit' }))
    expect(() => assertFits('snp1', made, here)).toThrow(`snapshot snp1 was made with ${words}: re`)
  })
})
