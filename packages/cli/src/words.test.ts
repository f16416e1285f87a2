import { describe, expect, it } from 'vitest'
import { describe as describeError, exitCodeOf, Failure } from './exit.ts'
import { pairs, seconds, whole } from './options.ts'
import { bytesText, printable, table } from './output.ts'
import { relative } from './relative.ts'

describe('words', () => {
  it('say times as people do', () => {
    const now = Date.parse('2026-01-01T00:00:00Z')
    const after = (s: number) => relative(new Date(now + s * 1000).toISOString(), now)
    expect([0, -1, -90, -118, -120, 3600, 7199, 86_400, 200_000].map(after)).toEqual([
      'now',
      '1 s ago',
      '90 s ago',
      '118 s ago',
      '2 min ago',
      'in 60 min',
      'in 2 h',
      'in 24 h',
      'in 2 d',
    ])
    expect(relative(null)).toBe('never')
  })

  it('say sizes, and line up', () => {
    expect([0, 1023, 1024, 104_857_600, 21_474_836_480].map(bytesText)).toEqual([
      '0 B',
      '1023 B',
      '1.0 KiB',
      '100 MiB',
      '20.0 GiB',
    ])
    expect(
      table(
        ['A', 'B'],
        [
          ['ü', 'x'],
          ['long', ''],
        ],
      ),
    ).toBe('A     B\nü     x\nlong')
  })

  it('carry no control characters of a stranger to the terminal', () => {
    expect(printable('a\u001b[2J\u0007b\u009b')).toBe('a\ufffd[2J\ufffdb\ufffd')
  })

  it('read options, and say what they want', () => {
    expect(['90', '90s', '10m', '2h', '1d', '0'].map(seconds('--timeout'))).toEqual([90, 90, 600, 7200, 86_400, 0])
    for (const text of ['', '-1', '1.5', '5x', 'h'])
      expect(() => seconds('--timeout')(text)).toThrow('--timeout must be')
    const pair = pairs('--env')
    expect(pair('B=2=3', pair('A='))).toEqual({ A: '', B: '2=3' })
    for (const text of ['A', '=1', '']) expect(() => pair(text)).toThrow('--env must be NAME=VALUE')
    expect(whole('--limit', 1, 10)('10')).toBe(10)
    for (const text of ['0', '11', '1e1', '']) expect(() => whole('--limit', 1, 10)(text)).toThrow('from 1 to 10')
  })

  it('describe an error in one line, and all of it where asked', () => {
    const cause = new Error('inner')
    const error = Object.assign(new Error('outer\nline', { cause }), { code: 'unauthorized', requestId: 'r1' })
    expect(describeError(error, false)).toBe(
      'lelantos: outer line (request r1); set LELANTOS_API_KEY, or: eval "$(./lelantos env)"',
    )
    expect(describeError(error, true)).toContain('caused by Error: inner')
    expect([exitCodeOf(new Failure(3, 'x')), exitCodeOf(error), exitCodeOf('x')]).toEqual([3, 1, 1])
  })
})
