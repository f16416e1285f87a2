import { describe, expect, it } from 'vitest'
import { newID, type Order, type Outcome, type Verb, verbs } from '@lelantos-ai/contract'
import { judge, type Standing } from './door.ts'

const sandboxID = newID('sandbox')
const operationID = newID('operation')
const done: Outcome = { status: 'done' }

function order(verb: Verb, generation: number, operation = operationID): Order {
  return { sandboxID, generation, operationID: operation, verb, args: {} } as Order
}

function standing(changes: Partial<Standing>): Standing {
  return { generation: 5, operationID, underWay: false, phase: 'running', ...changes }
}

const codeOf = (verdict: ReturnType<typeof judge>) =>
  verdict.kind === 'refuse' && verdict.outcome.status === 'failed' ? verdict.outcome.code : verdict.kind

describe('an order at the door', () => {
  it.each(verbs)('%s of an unknown sandbox', (verb) => {
    const expected = verb === 'create' || verb === 'kill' ? 'act' : 'unknown_sandbox'
    expect(codeOf(judge(order(verb, 1), undefined))).toBe(expected)
  })

  it.each(verbs)('%s of a lower generation is stale, whatever the sandbox does', (verb) => {
    for (const phase of ['moving', 'running', 'paused', 'ended'] as const)
      for (const underWay of [true, false])
        expect(codeOf(judge(order(verb, 4), standing({ phase, underWay })))).toBe('stale')
  })

  it('of the same generation, repeated: its outcome again, or working', () => {
    expect(judge(order('pause', 5), standing({ outcome: done }))).toEqual({ kind: 'replay', outcome: done })
    expect(judge(order('pause', 5), standing({ underWay: true })).kind).toBe('working')
  })

  it('of the same generation, interrupted by a restart: is begun again', () => {
    expect(judge(order('pause', 5), standing({})).kind).toBe('act')
  })

  it('of the same generation and another operation is stale', () => {
    expect(codeOf(judge(order('kill', 5, newID('operation')), standing({ outcome: done })))).toBe('stale')
  })

  it.each(verbs)('%s of a higher generation', (verb) => {
    const at = (changes: Partial<Standing>) => codeOf(judge(order(verb, 6), standing(changes)))
    expect(at({ phase: 'moving', underWay: true })).toBe('act')
    expect(at({ phase: 'running', outcome: done })).toBe(verb === 'create' ? 'stale' : 'act')
    expect(at({ phase: 'paused', outcome: done })).toBe(verb === 'create' ? 'stale' : 'act')
    const after = ['create', 'kill', 'release'].includes(verb) ? 'act' : 'ended'
    expect(at({ phase: 'ended', outcome: done })).toBe(after)
  })
})
