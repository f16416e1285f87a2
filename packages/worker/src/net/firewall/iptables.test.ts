import { describe, expect, it } from 'vitest'
import { targetChain } from './iptables.ts'

const forward = { hook: 'forward', direction: 'from_guest' } as const
const input = { hook: 'input', direction: 'from_guest' } as const
const OPEN = ['-P INPUT ACCEPT', '-P FORWARD ACCEPT', '-P OUTPUT ACCEPT']

describe('the chain of iptables in which slots need a passage', () => {
  it('is none where everything is open', () => {
    expect(targetChain(OPEN, forward)).toBeUndefined()
    expect(targetChain(OPEN, input)).toBeUndefined()
  })

  it('is one that drops by its policy, or has rules', () => {
    expect(targetChain(['-P INPUT DROP', '-P FORWARD ACCEPT'], input)).toBe('INPUT')
    expect(targetChain(['-P INPUT DROP', '-P FORWARD ACCEPT'], forward)).toBeUndefined()
    expect(targetChain([...OPEN, '-A FORWARD -j REJECT'], forward)).toBe('FORWARD')
  })

  it("is Docker's own for what is forwarded", () => {
    const docker = ['-P INPUT ACCEPT', '-P FORWARD DROP', '-N DOCKER-USER', '-A FORWARD -j DOCKER-USER']
    expect(targetChain(docker, forward)).toBe('DOCKER-USER')
    expect(targetChain(docker, input)).toBeUndefined()
  })
})
