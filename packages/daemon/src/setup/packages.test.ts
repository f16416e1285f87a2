import { expect, test } from 'vitest'
import { parseLines, parseStanzas } from './apt-sources.ts'
import { backportsPin, backportsSource } from './packages.ts'

test('backports come from the mirror of the release, with its key', () => {
  const sources = parseLines(
    'deb http://security.example/debian-security bookworm-security main\ndeb [signed-by=/k.gpg] http://mirror.example/debian bookworm main contrib',
  )
  expect(parseStanzas(backportsSource(sources, 'bookworm'))).toEqual([
    {
      uri: 'http://mirror.example/debian',
      suite: 'bookworm-backports',
      components: ['main'],
      options: { 'Signed-By': '/k.gpg' },
    },
  ])
})

test('a machine without a source of its release is told so', () => {
  expect(() => backportsSource([], 'bookworm')).toThrow('no source of bookworm main')
})

test('backports that the machine uses already keep their priority', () => {
  expect(backportsPin('bookworm-backports', 'added')).toContain(
    'Package: *\nPin: release n=bookworm-backports\nPin-Priority: 1\n',
  )
  const pin = backportsPin('bookworm-backports', 'used')
  expect(pin).not.toContain('Package: *')
  expect(pin).toContain('Package: qemu-* seabios ipxe-qemu\n')
})
