// The package sources that this machine is configured with, in both of apt's formats (sources.list(5)).
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { byCode } from './artifact.ts'

export interface Source {
  readonly uri: string
  readonly suite: string
  readonly components: readonly string[]
  /** Options as the stanza format names them: `Signed-By`, `Trusted`, `Architectures`, ... */
  readonly options: Readonly<Record<string, string>>
}

/** Reads every enabled binary source under `etc` (`/etc/apt`). */
export async function readSources(etc = '/etc/apt'): Promise<Source[]> {
  const parts = join(etc, 'sources.list.d')
  const files = [
    join(etc, 'sources.list'),
    ...(await readdir(parts).catch(() => [])).toSorted(byCode).map((f) => join(parts, f)),
  ]
  const sources: Source[] = []
  for (const file of files) {
    const text = await readFile(file, 'utf8').catch(() => '')
    if (file.endsWith('.list')) sources.push(...parseLines(text))
    else if (file.endsWith('.sources')) sources.push(...parseStanzas(text))
  }
  return sources
}

/** `deb [signed-by=/x arch=amd64] http://host/debian bookworm main contrib` */
export function parseLines(text: string): Source[] {
  const sources: Source[] = []
  for (const line of text.split('\n')) {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*(.*)$/.exec(line.replace(/#.*/, ''))
    if (match === null) continue
    const [, bracketed = '', uri = '', suite = '', components = ''] = match
    const options: Record<string, string> = {}
    for (const option of words(bracketed)) {
      const [name = '', value = ''] = option.split(/[-+]?=(.*)/, 2)
      const field = FIELDS[name]
      if (field !== undefined) options[field] = value.replaceAll(',', ' ')
    }
    sources.push({ uri, suite, components: words(components), options })
  }
  return sources
}

const FIELDS: Readonly<Record<string, string>> = {
  'signed-by': 'Signed-By',
  trusted: 'Trusted',
  arch: 'Architectures',
  'check-valid-until': 'Check-Valid-Until',
  'check-date': 'Check-Date',
}

/** Stanzas of `Types:`, `URIs:`, `Suites:`, `Components:`, ... (deb822(5)), one source for each pair of URI and suite. */
export function parseStanzas(text: string): Source[] {
  const sources: Source[] = []
  const lines = text.split('\n').filter((line) => !line.startsWith('#'))
  for (const stanza of lines.join('\n').split(/\n[ \t]*\n/)) {
    const fields = new Map<string, string>()
    let current = ''
    for (const line of stanza.split('\n')) {
      const match = /^([A-Za-z-]+):\s*(.*)$/.exec(line)
      if (match !== null) fields.set((current = (match[1] ?? '').toLowerCase()), match[2] ?? '')
      else if (/^\s+\S/.test(line)) fields.set(current, `${fields.get(current) ?? ''}\n${line}`)
    }
    if (/^(no|false|0)$/i.test(fields.get('enabled') ?? 'yes')) continue
    if (!words(fields.get('types') ?? '').includes('deb')) continue
    const options: Record<string, string> = {}
    for (const field of Object.values(FIELDS)) {
      const value = fields.get(field.toLowerCase())
      if (value !== undefined) options[field] = value
    }
    for (const uri of words(fields.get('uris') ?? ''))
      for (const suite of words(fields.get('suites') ?? ''))
        sources.push({ uri, suite, components: words(fields.get('components') ?? ''), options })
  }
  return sources
}

/** The distribution's own sources for a release: the suite itself, its updates and security, backports not included. */
export function releaseSources(sources: readonly Source[], codename: string): Source[] {
  const suites = [codename, `${codename}-updates`, `${codename}-security`, `${codename}/updates`]
  return sources
    .filter((source) => suites.includes(source.suite) && source.components.includes('main'))
    .map((source) => ({ ...source, components: ['main'] }))
}

/** Whether only this machine can read it: a guest has no use for it. */
export function isLocal(uri: string): boolean {
  if (!/^(mirror\+)?https?:/.test(uri)) return true
  try {
    const { hostname } = new URL(uri.replace(/^mirror\+/, ''))
    return (
      hostname === 'localhost' || hostname.endsWith('.localhost') || hostname.startsWith('127.') || hostname === '[::1]'
    )
  } catch {
    return true
  }
}

/** The stanza format; sources that differ only in their suite share a stanza. */
export function formatSources(sources: readonly Source[]): string {
  const stanzas = new Map<string, string[]>()
  for (const { uri, suite, components, options } of sources) {
    const fields = Object.entries(options).map(([name, value]) => `${name}: ${value}\n`)
    const key = `Components: ${components.join(' ')}\n${fields.join('')}`
    const head = `Types: deb\nURIs: ${uri}\n`
    const suites = stanzas.get(head + '\0' + key) ?? []
    if (!suites.includes(suite)) suites.push(suite)
    stanzas.set(head + '\0' + key, suites)
  }
  return [...stanzas]
    .map(([key, suites]) => {
      const [head = '', tail = ''] = key.split('\0')
      return `${head}Suites: ${suites.join(' ')}\n${tail}`
    })
    .join('\n')
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '')
}
