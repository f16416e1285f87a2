import { expect, it } from 'vitest'
import { exitCodeOf } from './exit-status.ts'

it('gives one number for every way to end', () => {
  expect(exitCodeOf({ exited: true, status: 'exit status 0' })).toBe(0)
  expect(exitCodeOf({ exitCode: 3, exited: true, status: 'exit status 3' })).toBe(3)
  expect(exitCodeOf({ exitCode: -1, status: 'signal: killed' })).toBe(137)
  expect(exitCodeOf({ exitCode: -1, status: 'signal: segmentation fault (core dumped)' })).toBe(139)
  expect(exitCodeOf({ exitCode: -1, status: 'signal: signal 34' })).toBe(162)
  expect(exitCodeOf({ exitCode: 143, status: 'signal: terminated' })).toBe(143)
  expect(exitCodeOf({ status: 'signal: terminated' })).toBe(143)
  expect(exitCodeOf({ exitCode: -1 })).toBe(255)
})
