import { describe, expect, it } from 'vitest'
import { deadlineSignal, together, until, within } from './until.ts'

describe('until', () => {
  it('settles as the promise does', async () => {
    const { signal } = new AbortController()
    expect(await until(signal, Promise.resolve(1))).toBe(1)
    await expect(until(signal, Promise.reject(new Error('broken')))).rejects.toThrow('broken')
  })

  it('gives up at once, and hands what comes late to be put away', async () => {
    const controller = new AbortController()
    const slow = Promise.withResolvers<string>()
    const late: string[] = []
    const waiting = until(controller.signal, slow.promise, async (value) => late.push(value))
    controller.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
    slow.resolve('machine')
    await new Promise(setImmediate)
    expect(late).toEqual(['machine'])
  })

  it('does not start to wait after the abort, and swallows a late failure', async () => {
    const slow = Promise.withResolvers<never>()
    await expect(until(AbortSignal.abort(new Error('before')), slow.promise)).rejects.toThrow('before')
    slow.reject(new Error('nobody listens'))
    await new Promise(setImmediate)
  })
})

describe('deadlines', () => {
  it('name what took too long', async () => {
    await expect(within(10, 'the save', new Promise(() => {}))).rejects.toThrow('the save took longer than 10 ms')
    using signal = deadlineSignal(10, 'the pause')
    await expect(until(signal, new Promise(() => {}))).rejects.toThrow('the pause took longer than 10 ms')
  })
})

describe('together', () => {
  it('waits for all, and throws the first failure afterwards', async () => {
    expect(await together([Promise.resolve(1), 'two'])).toEqual([1, 'two'])
    const slow = Promise.withResolvers<void>()
    let settled = false
    const both = together([Promise.reject(new Error('first')), slow.promise]).catch((error: unknown) => {
      settled = true
      return error
    })
    await new Promise(setImmediate)
    expect(settled).toBe(false)
    slow.resolve()
    expect(await both).toMatchObject({ message: 'first' })
  })
})
