import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { tryLock, withLock } from './lock.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lock-'))
})
afterEach(() => rm(folder, { recursive: true }))

it('has one holder', async () => {
  const path = join(folder, 'lock')
  const lock = await tryLock(path)
  expect(lock).toBeDefined()
  expect(await tryLock(path)).toBeUndefined()
  await lock?.[Symbol.asyncDispose]()
  await using again = await tryLock(path)
  expect(again).toBeDefined()
})

it('is let go by a holder that is killed', async () => {
  const path = join(folder, 'lock')
  const script = `import { tryLock } from ${JSON.stringify(join(import.meta.dirname, 'lock.ts'))}; await tryLock(${JSON.stringify(path)}); console.log('held'); setInterval(() => {}, 1000)`
  const other = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(other.stdout, 'data')
  expect(await tryLock(path)).toBeUndefined()
  other.kill('SIGKILL')
  await vi.waitFor(
    async () => {
      await using lock = await tryLock(path)
      expect(lock).toBeDefined()
    },
    { timeout: 10_000 },
  )
})

it('lets one at a time in', async () => {
  let inside = 0
  let most = 0
  await Promise.all(
    Array.from({ length: 8 }, () =>
      withLock(join(folder, 'lock'), async () => {
        most = Math.max(most, ++inside)
        await new Promise((resolve) => setImmediate(resolve))
        inside--
      }),
    ),
  )
  expect(most).toBe(1)
})
