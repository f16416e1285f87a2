import { expect, test } from 'vitest'
import { countGo, countVitest, summary } from './test-counts.ts'

const vitest = (...files: { status: string; tests: string[] }[]): string =>
  JSON.stringify({
    testResults: files.map(({ status, tests }) => ({
      status,
      assertionResults: tests.map((each) => ({ status: each })),
    })),
  })

test('vitest: each test counts by its end', () => {
  const report = vitest(
    { status: 'failed', tests: ['passed', 'failed', 'skipped', 'todo'] },
    { status: 'passed', tests: ['passed'] },
  )
  expect(countVitest(report, 1)).toEqual({ passed: 2, failed: 1, skipped: 2 })
})

test('vitest: a file that cannot be loaded, a broken report and a bad end are failures', () => {
  expect(countVitest(vitest({ status: 'failed', tests: [] }), 1)).toMatchObject({ failed: 1 })
  expect(countVitest('', 1)).toMatchObject({ failed: 1 })
  expect(countVitest(vitest({ status: 'passed', tests: ['passed'] }), 1)).toEqual({ passed: 1, failed: 1, skipped: 0 })
})

const go = (...events: object[]): string => events.map((event) => JSON.stringify(event)).join('\n')

test('Go: tests with parts count by their parts', () => {
  const events = go(
    { Action: 'pass', Package: 'p', Test: 'TestA/one' },
    { Action: 'fail', Package: 'p', Test: 'TestA/two' },
    { Action: 'output', Package: 'p', Test: 'TestA/two', Output: 'boom\n' },
    { Action: 'fail', Package: 'p', Test: 'TestA' },
    { Action: 'skip', Package: 'p', Test: 'TestB' },
    { Action: 'fail', Package: 'p' },
    { Action: 'pass', Package: 'q', Test: 'TestC' },
    { Action: 'pass', Package: 'q' },
  )
  const { counts, failures } = countGo(events, 1)
  expect(counts).toEqual({ passed: 2, failed: 1, skipped: 1 })
  expect(failures).toContain('boom')
})

test('Go: a package that does not build is a failure, with what the compiler said', () => {
  const events = go(
    { Action: 'build-output', ImportPath: 'p [p.test]', Output: 'undefined: x\n' },
    { Action: 'build-fail', ImportPath: 'p [p.test]' },
    { Action: 'fail', Package: 'p', FailedBuild: 'p [p.test]' },
  )
  const { counts, failures } = countGo(events, 1)
  expect(counts).toEqual({ passed: 0, failed: 1, skipped: 0 })
  expect(failures).toContain('undefined: x')
})

test('the last line', () => {
  expect(summary({ passed: 3, failed: 0, skipped: 0 })).toBe('3 passed, 0 failed')
  expect(summary({ passed: 3, failed: 1, skipped: 2 })).toBe('3 passed, 1 failed, 2 skipped')
})
