import { describe, expect, test } from 'vitest'
import { formatSources, isLocal, parseLines, parseStanzas, releaseSources } from './apt-sources.ts'

const stanzas = `# the release
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
# the archive of the day
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc=
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://other.example/debian
Suites: bookworm
Components: main
Enabled: no
`

describe('stanzas', () => {
  test('one source for each suite, options kept', () => {
    const sources = parseStanzas(stanzas)
    expect(sources.map(({ uri, suite, components }) => [uri, suite, components])).toEqual([
      ['http://mirror.example/debian', 'bookworm', ['main', 'contrib']],
      ['http://mirror.example/debian', 'bookworm-updates', ['main', 'contrib']],
      ['http://mirror.example/debian-security', 'bookworm-security', ['main']],
    ])
    expect(sources[0]?.options).toEqual({ 'Signed-By': '/usr/share/keyrings/debian-archive-keyring.gpg' })
    expect(sources[2]?.options['Signed-By']).toContain('\n .\n abc=\n')
  })

  test('read back what was written', () => {
    const sources = parseStanzas(stanzas)
    expect(parseStanzas(formatSources(sources))).toEqual(sources)
  })

  test('a stanza that is not of binary packages gives none', () => {
    expect(parseStanzas('Types: deb-src\nURIs: http://x.example/\nSuites: s\nComponents: main\n')).toEqual([])
  })
})

describe('lines', () => {
  test('the old format, with options and comments', () => {
    const text = `
      # deb http://off.example/debian bookworm main
      deb http://mirror.example/debian bookworm main contrib # comment
      deb [arch=amd64,arm64 signed-by=/etc/key.gpg trusted=yes] https://mirror.example/debian bookworm-security main
      deb-src http://mirror.example/debian bookworm main`
    expect(parseLines(text)).toEqual([
      { uri: 'http://mirror.example/debian', suite: 'bookworm', components: ['main', 'contrib'], options: {} },
      {
        uri: 'https://mirror.example/debian',
        suite: 'bookworm-security',
        components: ['main'],
        options: { Architectures: 'amd64 arm64', 'Signed-By': '/etc/key.gpg', Trusted: 'yes' },
      },
    ])
  })
})

test('of a release come its own suites and only main', () => {
  const suites = ['bookworm', 'bookworm-updates', 'bookworm-security', 'bookworm-backports', 'trixie']
  const sources = suites.map((suite) => ({
    uri: 'http://m.example',
    suite,
    components: ['main', 'contrib'],
    options: {},
  }))
  const other = { uri: 'http://m.example', suite: 'bookworm', components: ['contrib'], options: {} }
  const chosen = releaseSources([...sources, other], 'bookworm')
  expect(chosen.map(({ suite }) => suite)).toEqual(['bookworm', 'bookworm-updates', 'bookworm-security'])
  expect(chosen.every(({ components }) => components.join() === 'main')).toBe(true)
})

test('a guest cannot read what only its host can', () => {
  const here = ['file:/srv/mirror', 'cdrom:[x]/', 'http://localhost/debian', 'http://127.0.0.1:3142/debian', 'copy:/x']
  expect(here.filter((uri) => !isLocal(uri))).toEqual([])
  const elsewhere = ['http://mirror.example/debian', 'https://10.1.2.3/debian', 'mirror+http://mirror.example/list']
  expect(elsewhere.filter((uri) => isLocal(uri))).toEqual([])
})
