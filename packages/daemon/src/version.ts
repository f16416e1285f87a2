import { readFileSync } from 'node:fs'

/** Version of this release, from the package that is its executable. */
export const version = (
  JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
).version
