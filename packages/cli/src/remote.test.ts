import { describe, expect, it } from 'vitest'
import { commandLine, splitRemote } from './remote.ts'

describe('the command after --', () => {
  it('is a program with its arguments where it has several words, whatever is in them', () => {
    expect(commandLine(['ls', '-l', '/a b', '$HOME'])).toEqual(['ls', '-l', '/a b', '$HOME'])
    expect(commandLine(['ls'])).toEqual(['ls'])
    expect(commandLine(['/usr/bin/env-x_1.2'])).toEqual(['/usr/bin/env-x_1.2'])
  })

  it('is a shell command where it is one word that means something to a shell', () => {
    for (const word of [
      'echo a',
      'a;b',
      'a|b',
      'a&',
      'echo$IFS',
      'a>b',
      '$(a)',
      '`a`',
      'ls *'.trim(),
      '~/a',
      "a'",
      'a"',
    ]) {
      expect(commandLine([word])).toBe(word)
    }
  })

  it('is needed', () => {
    expect(commandLine([])).toBeUndefined()
    expect(commandLine([''])).toBeUndefined()
  })

  it('is split off at the first --, of the commands that take one', () => {
    expect(splitRemote(['exec', 'a', '--', 'x', '--', 'y'])).toEqual({ own: ['exec', 'a'], remote: ['x', '--', 'y'] })
    expect(splitRemote(['--json', 'run', '--', 'x'])).toEqual({ own: ['--json', 'run'], remote: ['x'] })
    expect(splitRemote(['exec', 'a'])).toEqual({ own: ['exec', 'a'], remote: undefined })
    expect(splitRemote(['cp', '--', '-a', 'b:c'])).toEqual({ own: ['cp', '--', '-a', 'b:c'], remote: undefined })
  })
})
