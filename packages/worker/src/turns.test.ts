import { describe, expect, it } from 'vitest'
import { Turns } from './turns.ts'

const never = new AbortController().signal

describe('turns', () => {
  it('are as many as there are, in the order of asking', async () => {
    const turns = new Turns(2)
    const taken: number[] = []
    const held = await Promise.all([turns.take(never), turns.take(never)])
    const waiting = [1, 2, 3].map(async (n) => {
      using _turn = await turns.take(never)
      taken.push(n)
    })
    await Promise.resolve()
    expect(taken).toEqual([])
    held[0][Symbol.dispose]()
    await Promise.all(waiting)
    expect(taken).toEqual([1, 2, 3])
  })

  it('given up leave the line, and are not lost', async () => {
    const turns = new Turns(1)
    const held = await turns.take(never)
    const impatient = new AbortController()
    const given = turns.take(impatient.signal)
    const patient = turns.take(never)
    impatient.abort(new Error('no longer'))
    await expect(given).rejects.toThrow('no longer')
    held[Symbol.dispose]()
    held[Symbol.dispose]()
    const next = await patient
    let third = false
    void turns.take(never).then(() => (third = true)) // it never rejects
    await new Promise(setImmediate)
    expect(third).toBe(false)
    next[Symbol.dispose]()
    await new Promise(setImmediate)
    expect(third).toBe(true)
  })

  it('are not taken by who has given up before', async () => {
    await expect(new Turns(1).take(AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone')
  })
})
