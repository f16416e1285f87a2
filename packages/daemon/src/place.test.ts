import { chmod, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { makePlace } from './place.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'place-'))
  await chmod(folder, 0o755)
})
afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

it('makes the folder and those above it, for everyone to pass', async () => {
  const home = join(folder, 'a', 'b')
  await makePlace(home)
  await makePlace(home)
  for (const path of [join(folder, 'a'), home]) expect((await stat(path)).mode & 0o777).toBe(0o711)
})

it('names the folder that the system user may not pass, and makes nothing', async () => {
  const closed = join(folder, 'closed')
  await mkdir(closed, { mode: 0o700 })
  await mkdir(join(closed, 'open'))
  const home = join(closed, 'open', 'home')
  await expect(makePlace(home)).rejects.toThrow(`may not pass ${closed} (mode 0700)`)
  await expect(stat(home)).rejects.toThrow('ENOENT')
  // What is closed itself is the installation's own to open.
  await expect(makePlace(closed)).resolves.toBeUndefined()
})

it('refuses what is no place at all', async () => {
  await writeFile(join(folder, 'file'), '')
  await expect(makePlace(join(folder, 'file'))).rejects.toThrow('is no folder')
  await expect(makePlace(join(folder, 'file', 'below'))).rejects.toThrow(`${join(folder, 'file')} is no folder`)
  await expect(makePlace('/proc/nothing/there')).rejects.toThrow('LELANTOS_HOME cannot be /proc/nothing/there: ENOENT')
  await expect(makePlace(join(folder, 'x'.repeat(100)))).rejects.toThrow('must be at most 107 bytes')
})
