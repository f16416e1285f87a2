// Set-up killed in the middle of a step goes on where it was: what was done stays done, what was half made is gone, and no
// program that it had started is left.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lelantos-setup-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

function start() {
  const child = spawn(process.execPath, ['--conditions=source', join(import.meta.dirname, 'make.ts'), folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  return { child, output: () => output, ended: once(child, 'close') }
}

/** Pids of processes that have this among their arguments. */
async function processesWith(argument: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')))
  return pids.filter((_, index) => lines[index]?.split('\0').includes(argument))
}

test('goes on after kill -9 in the middle of a step', async () => {
  const killed = start()
  const sleeping = `600.0${killed.child.pid}`
  await vi.waitFor(async () => expect(await processesWith(sleeping)).toHaveLength(1), { timeout: 20_000, interval: 50 })
  killed.child.kill('SIGKILL')
  await killed.ended
  await vi.waitFor(async () => expect(await processesWith(sleeping)).toEqual([]), { timeout: 10_000, interval: 50 })
  expect((await readdir(join(folder, 'stamps'))).filter((name) => !name.startsWith('.'))).toEqual(['first'])
  expect(await readdir(join(folder, 'artifacts'))).toEqual([expect.stringMatching(/^\.new-\d+-/)])

  await writeFile(join(folder, 'quick'), '')
  const next = start()
  expect(await next.ended).toEqual([0, null])
  expect(next.output().trim().split('\n')).toEqual([
    'first skip',
    'middle start',
    'middle done',
    'last start',
    'last done',
  ])
  expect(await readFile(join(folder, 'first'), 'utf8')).toBe('made\n')
  expect(await readdir(join(folder, 'artifacts'))).toEqual(['image-abcdef012345'])
  expect((await readdir(join(folder, 'artifacts', 'image-abcdef012345'))).toSorted()).toEqual([
    'artifact.json',
    'half',
    'whole',
  ])

  const again = start()
  expect(await again.ended).toEqual([0, null])
  expect(again.output().trim().split('\n')).toEqual(['first skip', 'middle skip', 'last skip'])
})
