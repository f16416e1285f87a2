import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { LogFile, readable } from './log.ts'

it('shows a JSON line to people, its cause and its ids', () => {
  const line = JSON.stringify({
    level: 50,
    time: '2026-01-02T03:04:05.678Z',
    role: 'worker',
    msg: 'the pause failed',
    sandboxID: 'sbx1',
    err: { message: 'disk full' },
  })
  expect(readable(line)).toBe('03:04:05.678 worker   error: the pause failed: disk full  sandboxID=sbx1')
  expect(readable(JSON.stringify({ level: 20, msg: 'x' }))).toBeUndefined()
  expect(readable('Segmentation fault')).toBe('Segmentation fault')
})

it('appends', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'log-'))
  for (const text of ['a\n', 'b\n']) {
    const file = new LogFile(folder, 'server')
    file.write(text)
    await file.close()
  }
  expect(readFileSync(join(folder, 'server.log'), 'utf8')).toBe('a\nb\n')
  rmSync(folder, { recursive: true })
})
