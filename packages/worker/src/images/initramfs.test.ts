import { describe, expect, test } from 'vitest'
import { cpio, guestInitramfs } from './initramfs.ts'

interface Member {
  path: string
  mode: number
  rdev: string
  content: string
}

/** Reads a newc archive as the kernel does: by the header's fields, each part aligned to four bytes. */
function read(archive: Buffer): Member[] {
  const members: Member[] = []
  let at = 0
  for (;;) {
    expect(at % 4).toBe(0)
    expect(archive.toString('latin1', at, at + 6)).toBe('070701')
    const field = (index: number): number =>
      parseInt(archive.toString('latin1', at + 6 + index * 8, at + 14 + index * 8), 16)
    const nameSize = field(11)
    const size = field(6)
    const path = archive.toString('utf8', at + 110, at + 110 + nameSize - 1)
    const start = (at + 110 + nameSize + 3) & ~3
    if (path === 'TRAILER!!!') {
      expect(start).toBe(archive.length)
      return members
    }
    members.push({
      path,
      mode: field(1),
      rdev: `${field(9)}:${field(10)}`,
      content: archive.toString('utf8', start, start + size),
    })
    at = (start + size + 3) & ~3
  }
}

describe('the initramfs', () => {
  test('holds what was put in, whatever the lengths', () => {
    const files = [0, 1, 2, 3, 4, 5, 8].map((length) => ({
      kind: 'file' as const,
      path: `f${'x'.repeat(length)}`,
      mode: 0o640,
      content: Buffer.alloc(length, 'c'),
    }))
    const members = read(cpio(files))
    expect(members.map(({ path, content }) => [path, content])).toEqual(
      files.map(({ path, content }) => [path, content.toString()]),
    )
    expect(members.every(({ mode }) => mode === 0o100640)).toBe(true)
  })

  test('has the daemon as /init, a console, and the modules in their order', () => {
    const archive = guestInitramfs({
      init: Buffer.from('daemon'),
      modules: [
        { file: 'b.ko.xz', content: Buffer.from('B') },
        { file: 'a.ko.xz', content: Buffer.from('A') },
      ],
    })
    const members = new Map(read(archive).map((member) => [member.path, member]))
    expect(members.get('init')).toMatchObject({ mode: 0o100755, content: 'daemon' })
    expect(members.get('dev/console')).toMatchObject({ mode: 0o020600, rdev: '5:1' })
    expect(members.get('newroot')).toMatchObject({ mode: 0o040755 })
    expect(members.get('mods/order')?.content).toBe('b.ko.xz\na.ko.xz\n')
    expect(members.get('mods/a.ko.xz')?.content).toBe('A')
  })

  test('is the same bytes for the same entries', () => {
    const entries = [{ kind: 'file', path: 'x', mode: 0o600, content: Buffer.from('1') }] as const
    expect(cpio(entries).equals(cpio(entries))).toBe(true)
  })

  test('refuses a path that leaves it', () => {
    for (const path of ['/etc/passwd', '../x', 'a/../../x'])
      expect(() => cpio([{ kind: 'folder', path, mode: 0o755 }])).toThrow(path)
  })
})
