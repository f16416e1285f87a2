import { silentLog } from '@lelantos-ai/contract'
import { expect, it, vi } from 'vitest'
import { keep, type Part } from './keep.ts'

function mortal(): Part & { die(): void } {
  const { promise, resolve } = Promise.withResolvers<string>()
  return { exited: promise, stop: async () => resolve('stopped'), die: () => resolve('SIGKILL') }
}

it('starts again what dies, and stops for good when told', async () => {
  const parts: ReturnType<typeof mortal>[] = []
  const kept = await keep(
    'part',
    async () => {
      const part = mortal()
      parts.push(part)
      return part
    },
    silentLog,
  )
  parts[0]?.die()
  await vi.waitFor(() => expect(parts).toHaveLength(2), { timeout: 5000 })
  await kept.stop()
  expect(parts).toHaveLength(2)
})

it('tries again when a restart fails, and rejects when the first start does', async () => {
  await expect(keep('part', async () => Promise.reject(new Error('no')), silentLog)).rejects.toThrow('no')
  const parts: ReturnType<typeof mortal>[] = []
  let starts = 0
  const kept = await keep(
    'part',
    async () => {
      if (++starts === 2) throw new Error('not this time')
      const part = mortal()
      parts.push(part)
      return part
    },
    silentLog,
  )
  parts[0]?.die()
  await vi.waitFor(() => expect(parts).toHaveLength(2), { timeout: 5000 })
  expect(await kept.current()).toBe(parts[1])
  await kept.stop()
})
