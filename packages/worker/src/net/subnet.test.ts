import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { candidateSubnets, chooseSubnet } from './subnet.ts'

let claims: string
let resolvConf: string
beforeEach(async () => {
  claims = await mkdtemp(`${tmpdir()}/lelantos-subnets-`)
  resolvConf = `${claims}.conf`
  await writeFile(resolvConf, '')
})
afterEach(async () => {
  await rm(claims, { recursive: true })
  await rm(resolvConf)
})

const choose = (installation: string, more: { preferred?: string; taken?: string[] } = {}) =>
  chooseSubnet({ installation, claims, resolvConf, ...more })

describe('the subnet of an installation', () => {
  it('is its own, and the same again', async () => {
    const chosen = await Promise.all(
      ['aaaaaa', 'aaaaaa', 'aaaaab', 'aaaaab'].map((installation) => choose(installation)),
    )
    expect(chosen[1]).toBe(chosen[0])
    expect(chosen[3]).toBe(chosen[2])
    expect(chosen[2]).not.toBe(chosen[0])
    expect(await readdir(claims)).toHaveLength(2)
  })

  it('is never that of another that wants the same', async () => {
    // 128 apart: the same candidates in the same order.
    const installations = ['000000', '000080', '000100', '000180']
    const chosen = await Promise.all(installations.map((installation) => choose(installation)))
    expect(new Set(chosen).size).toBe(4)
  })

  it('is the preferred one unless something has come to overlap it', async () => {
    expect(await choose('aaaaaa', { preferred: '10.77.0.0/16' })).toBe('10.77.0.0/16')
    expect(await choose('aaaaab', { preferred: '10.77.0.0/16' })).not.toBe('10.77.0.0/16')
    expect(await choose('aaaaac', { preferred: '10.78.0.0/16', taken: ['10.78.3.0/24'] })).not.toBe('10.78.0.0/16')
  })

  it('stays away from the resolvers of the host and from its routes', async () => {
    const [first = '', second = ''] = candidateSubnets('000000')
    await writeFile(resolvConf, `nameserver ${first.replace('.0.0/16', '.255.53')}\n`)
    expect(await choose('000000')).toBe(second)
    await expect(choose('000000', { taken: ['10.0.0.0/8', '100.64.0.0/10'] })).rejects.toThrow('no /16')
  })

  it('has 319 candidates, none twice', () => {
    expect(new Set(candidateSubnets('ffffff')).size).toBe(319)
  })
})
