import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { hashFolder, hashOf, isArtifact, makeArtifact, readArtifact, sweepArtifacts } from './artifact.ts'

let root: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'artifacts-'))
})
afterEach(() => rm(root, { recursive: true }))

const inputs = hashOf('inputs')
const fill = (text: string) => async (folder: string) => {
  await writeFile(join(folder, 'file'), text)
  return hashOf(text)
}

test('is made once, under a name of its inputs', async () => {
  const first = await makeArtifact(root, 'kernel', inputs, fill('a'))
  const second = await makeArtifact(root, 'kernel', inputs, () => Promise.reject(new Error('not again')))
  expect(second).toBe(first)
  expect(first).toBe(join(root, `kernel-${inputs.slice(0, 12)}`))
  expect(await readArtifact(first)).toEqual({ name: 'kernel', inputs, hash: hashOf('a'), files: ['file'] })
})

test('is made again when a file of it is gone', async () => {
  const folder = await makeArtifact(root, 'kernel', inputs, fill('a'))
  await rm(join(folder, 'file'))
  expect(await isArtifact(folder)).toBe(false)
  await makeArtifact(root, 'kernel', inputs, fill('b'))
  expect(await isArtifact(folder)).toBe(true)
})

test('leaves nothing when making it fails', async () => {
  const half = async (folder: string): Promise<string> => {
    await writeFile(join(folder, 'half'), 'x')
    throw new Error('no space')
  }
  await expect(makeArtifact(root, 'kernel', inputs, half)).rejects.toThrow('no space')
  expect(await readdir(root)).toEqual([])
})

test('made by two at once is one, and whole', async () => {
  const both = await Promise.all(
    ['a', 'b'].map((text) => makeArtifact(root, `k-${text}`.slice(0, 1), inputs, fill(text))),
  )
  expect(new Set(both).size).toBe(1)
  expect(await isArtifact(both[0] ?? '')).toBe(true)
})

test('what a dead process left is swept, what a live one makes is not', async () => {
  const dead = join(root, '.new-999999999-kernel-x')
  const live = join(root, `.new-${process.ppid}-kernel-x`)
  for (const folder of [dead, live]) await mkdir(folder)
  await sweepArtifacts(root)
  await expect(stat(dead)).rejects.toThrow('ENOENT')
  expect((await stat(live)).isDirectory()).toBe(true)
})

test("a folder's hash is of names and contents", async () => {
  await mkdir(join(root, 'in'))
  await writeFile(join(root, 'in', 'a'), '1')
  const one = await hashFolder(root)
  expect(await hashFolder(root)).toBe(one)
  await writeFile(join(root, 'in', 'a'), '2')
  const two = await hashFolder(root)
  expect(two).not.toBe(one)
  await writeFile(join(root, 'b'), '')
  expect(await hashFolder(root)).not.toBe(two)
  expect(await hashFolder(root, (path) => path === 'b')).toBe(two)
})
