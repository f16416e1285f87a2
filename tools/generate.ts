// Writes what derives from the contract. With `--check` it writes nothing and fails when a file would change.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { openapi } from '@lelantos-ai/contract'
import { errorsPage } from './reference.ts'
import { wireTypes } from './wire-types.ts'

const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }

/** Path in the repository -> its text. Generators are added here, one line each. */
const generated: Record<string, () => string | Promise<string>> = {
  'docs/openapi.json': () => `${JSON.stringify(openapi(version), null, 2)}\n`,
  'docs/reference/errors.md': errorsPage,
  'packages/sdk/src/wire.ts': wireTypes,
}

const check = process.argv.includes('--check')
let stale = 0
for (const [path, make] of Object.entries(generated)) {
  const text = await make()
  let present = ''
  try {
    present = readFileSync(path, 'utf8')
  } catch {
    // not there yet: that is a change
  }
  if (present === text) continue
  stale++
  console.log(check ? `${path} is not current: npm run generate` : `wrote ${path}`)
  if (check) continue
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
}
process.exit(check && stale > 0 ? 1 : 0)
