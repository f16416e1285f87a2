import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { isDone, readStamp, runSteps, StepError, type Step, type StepReport } from './steps.ts'

let stamps: string
let ran: string[]
let reports: StepReport[]

beforeEach(async () => {
  stamps = await mkdtemp(join(tmpdir(), 'steps-'))
  ran = []
  reports = []
})
afterEach(() => rm(stamps, { recursive: true }))

function step(name: string, options: Partial<Step> = {}): Step {
  return {
    name,
    inputs: async () => 'one',
    present: async () => true,
    run: async () => {
      ran.push(name)
      return `${name}-product`
    },
    ...options,
  }
}

const run = (steps: Step[], signal = new AbortController().signal): Promise<void> =>
  runSteps(steps, { stamps, signal, report: (report) => reports.push(report) })

describe('a step', () => {
  test('that is done is skipped, and says so', async () => {
    await run([step('a')])
    await run([step('a')])
    expect(ran).toEqual(['a'])
    expect(reports.map(({ step: name, state }) => `${name} ${state}`)).toEqual(['a start', 'a done', 'a skip'])
    expect(await readStamp(stamps, 'a')).toEqual({ inputs: 'one', product: 'a-product' })
    expect(await isDone(step('a'), stamps)).toBe(true)
  })

  test('is done again when its inputs change or its product is gone', async () => {
    await run([step('a')])
    await run([step('a', { inputs: async () => 'two' })])
    await run([step('a', { inputs: async () => 'two', present: async (product) => product !== 'a-product' })])
    expect(ran).toEqual(['a', 'a', 'a'])
  })

  test('is done again when its stamp was cut off', async () => {
    await run([step('a')])
    await writeFile(join(stamps, 'a'), (await readFile(join(stamps, 'a'), 'utf8')).slice(0, 10))
    await run([step('a')])
    expect(ran).toEqual(['a', 'a'])
  })

  test('leaves no stamp when it fails', async () => {
    const failing = step('a', { run: () => Promise.reject(new Error('no network')) })
    await expect(run([failing])).rejects.toMatchObject({ step: 'a', cause: { message: 'no network' } })
    expect(await readdir(stamps)).toEqual([])
  })

  test('has its note reported', async () => {
    await run([step('a', { run: async ({ note }) => (note('three files'), 'x') })])
    expect(reports.at(-1)).toMatchObject({ step: 'a', state: 'done', note: 'three files' })
  })
})

describe('steps', () => {
  test('run side by side unless one needs another', async () => {
    const both = Promise.withResolvers<void>()
    let begun = 0
    const meet = async (): Promise<string> => {
      begun++
      if (begun === 2) both.resolve()
      await both.promise
      return 'x'
    }
    const after = step('c', { after: ['a', 'b'] })
    await run([step('a', { run: meet }), step('b', { run: meet }), after])
    expect(ran).toEqual(['c'])
    expect(reports.findIndex(({ step: name }) => name === 'c')).toBeGreaterThan(3)
  })

  test('compute their inputs from what the ones before have made', async () => {
    let made = ''
    const first = step('a', { run: async () => (made = 'made') })
    const second = step('b', { after: ['a'], inputs: async () => `of ${made}` })
    await run([first, second])
    expect(await readStamp(stamps, 'b')).toMatchObject({ inputs: 'of made' })
  })

  test('that need a failed one are not begun, those in flight end first', async () => {
    const slow = Promise.withResolvers<string>()
    const failing = step('a', {
      run: () => {
        setImmediate(() => slow.resolve('slow-product'))
        return Promise.reject(new Error('broken'))
      },
    })
    const all = [failing, step('b', { after: ['a'] }), step('slow', { run: () => slow.promise })]
    await expect(run(all)).rejects.toBeInstanceOf(StepError)
    expect(ran).toEqual([])
    expect(await readStamp(stamps, 'slow')).toEqual({ inputs: 'one', product: 'slow-product' })
  })

  test('are not begun once set-up was interrupted', async () => {
    const controller = new AbortController()
    controller.abort(new Error('interrupted'))
    await expect(run([step('a')], controller.signal)).rejects.toMatchObject({ cause: { message: 'interrupted' } })
    expect(ran).toEqual([])
  })

  test('listed before what they need are a mistake', async () => {
    await expect(run([step('b', { after: ['a'] }), step('a')])).rejects.toThrow('listed before a')
  })
})
