import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { askControl, NotRunning, serveControl } from './control.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'control-'))
})
afterEach(() => rm(folder, { recursive: true }))

it('answers with progress, a value, or a failure', async () => {
  const path = join(folder, 'socket')
  const server = await serveControl(path, async (request, progress) => {
    progress('half way')
    if (request.verb === 'inspect') throw new Error('no such sandbox')
    return { asked: request.verb }
  })
  const seen: string[] = []
  expect(await askControl(path, { verb: 'status' }, (text) => seen.push(text))).toEqual({ asked: 'status' })
  expect(seen).toEqual(['half way'])
  await expect(askControl(path, { verb: 'inspect', sandboxID: 'x' })).rejects.toThrow('no such sandbox')
  server.close()
})

it('says so when nothing runs', async () => {
  await expect(askControl(join(folder, 'none'), { verb: 'status' })).rejects.toBeInstanceOf(NotRunning)
})
