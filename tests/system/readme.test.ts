// The README's commands and programs, run as they stand there, on an installation that is up.
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { exportsOf, finished, Installation, repository } from './installation.ts'

const readme = readFileSync(join(repository, 'README.md'), 'utf8')
/** Those that install, start or test the whole are what this test stands on, or what runs it. */
const WHOLE = /^\.\/lelantos (up|test)/m

let installation: Installation
let environment: NodeJS.ProcessEnv

beforeAll(async () => {
  installation = await Installation.start()
  environment = { ...installation.environment, ...(await exportsOf(installation)) }
}, 600_000)
afterAll(() => installation?.remove(), 120_000)

const commands = blocks('sh').filter((block) => !WHOLE.test(block))
const programs = blocks('ts')

it('has what this test runs', () => {
  expect(commands.length).toBeGreaterThanOrEqual(2)
  expect(programs.length).toBeGreaterThanOrEqual(2)
})

it.each(commands)('runs: %s', async (block) => {
  const ran = await finished(
    spawn('bash', ['-e', '-o', 'pipefail', '-c', block], { cwd: repository, env: installation.environment }),
  )
  expect(ran, ran.stderr).toMatchObject({ code: 0 })
})

it.each(programs)('runs: %s', async (block) => {
  const args = ['--conditions=source', '--input-type=module-typescript', '--eval', block]
  const ran = await finished(spawn(process.execPath, args, { cwd: repository, env: environment }))
  expect(ran, ran.stderr).toMatchObject({ code: 0 })
})

function blocks(language: string): string[] {
  return [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\``, 'gm'))].map((match) => match[1] ?? '')
}
