import { describe, expect, it } from 'vitest'
import {
  hasEnded,
  isTransition,
  type MoveName,
  moves,
  overdueMove,
  publicState,
  type State,
  states,
  transitionDeadlineMs,
} from './lifecycle.ts'

const ends: readonly State[] = ['killed', 'stopped']
const all = Object.entries(moves) as [MoveName, { from: readonly State[]; to: State; event?: string; order?: string }][]

describe('lifecycle table', () => {
  it('reaches every state from creating, and an end from every state', () => {
    const reached = new Set<State>(['creating'])
    for (let round = 0; round < states.length; round++) {
      for (const [, move] of all) if (move.from.some((state) => reached.has(state))) reached.add(move.to)
    }
    expect([...reached].sort()).toEqual([...states].sort())
    for (const state of states.filter((s) => !ends.includes(s))) {
      const onward = new Set<State>([state])
      for (let round = 0; round < states.length; round++) {
        for (const [, move] of all) if (move.from.some((s) => onward.has(s))) onward.add(move.to)
      }
      expect(ends.some((end) => onward.has(end))).toBe(true)
    }
  })

  it('leaves an end by no move', () => {
    for (const [name, move] of all)
      for (const end of ends) expect([name, move.from.includes(end)]).toEqual([name, false])
  })

  it('can kill from every state that is live outside', () => {
    expect([...moves.kill.from].sort()).toEqual(states.filter((state) => !hasEnded(state)).sort())
  })

  it('settles each transition by a legal move that leaves it', () => {
    for (const state of states) {
      expect(isTransition(state)).toBe(state in transitionDeadlineMs)
      if (!isTransition(state)) continue
      const name = overdueMove[state]
      if (name === undefined) continue
      expect((moves[name].from as readonly State[]).includes(state)).toBe(true)
      expect(moves[name].to).not.toBe(state)
    }
  })

  it('starts a transition with an order, and ends one with an event', () => {
    for (const [name, move] of all) {
      if (isTransition(move.to)) expect([name, move.order]).not.toEqual([name, undefined])
      if (move.from.some(isTransition) && !isTransition(move.to))
        expect([name, move.event]).not.toEqual([name, undefined])
    }
  })

  it('shows E2B clients nothing but their two states for what is live', () => {
    for (const state of states.filter((s) => !hasEnded(s) && s !== 'creating'))
      expect(['running', 'paused']).toContain(publicState[state])
  })
})
