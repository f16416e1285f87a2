import { expect, it } from 'vitest'
import { Admission } from './admission.ts'

it('promises memory with its overhead, up to the total with overcommitment, and takes it back once', () => {
  const admission = new Admission({ totalMB: 1000, overcommit: 2, overheadMB: 100 })
  expect(admission.totalMB).toBe(2000)
  const first = admission.reserve(900)
  const second = admission.reserve(900)
  expect(admission.reservedMB).toBe(2000)
  expect(() => admission.reserve(1)).toThrow(/needs 101 MB, and 0 of 2000 are free/)
  first[Symbol.dispose]()
  first[Symbol.dispose]()
  expect(admission.reservedMB).toBe(1000)
  admission.reserve(900)
  expect(() => admission.reserve(0)).toThrow(expect.objectContaining({ code: 'full' }) as Error)
  second[Symbol.dispose]()
  expect(admission.reservedMB).toBe(1000)
})

it('counts what runs already even where there is no room', () => {
  const admission = new Admission({ totalMB: 500, overcommit: 1, overheadMB: 100 })
  admission.adopt(512)
  expect(admission.reservedMB).toBe(612)
  expect(() => admission.reserve(1)).toThrow(/free/)
})
