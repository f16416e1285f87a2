// The built SDK in a plain program under an older Node, with nothing beside it: no dependency, no type stripping, no
// workspace. Needs a second Node on the machine, as Debian's package is.
import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WireServer } from '../../packages/sdk/src/testing/wire-server.ts'

const run = promisify(execFile)
const olderNodes = findOlderNodes()
const folder = mkdtempSync(join(tmpdir(), 'lelantos-sdk-'))

const program = `
import { createLelantos, LelantosClient, NotFoundError } from './dist/index.js'
const client = new LelantosClient()
const sandbox = await client.createSandbox({ templateID: 'base', timeout: 60 })
const seen = []
const result = await sandbox.commands.run('cat; echo ü >&2; exit 3', { stdin: 'in', onStdout: (text) => seen.push(text) })
await sandbox.uploadFile('/a', new Blob(['blob']).stream())
const file = new TextDecoder().decode(await sandbox.downloadFile('/a'))
const controller = new AbortController()
const reason = await sandbox.commands
  .run('echo; sleep 600', { signal: controller.signal, onStdout: () => controller.abort(new Error('enough')) })
  .catch((error) => error.message)
const listed = await createLelantos().sandboxes.list()
await sandbox.kill()
const gone = await sandbox.kill().catch((error) => error instanceof NotFoundError && error.code)
console.log(JSON.stringify({ result, seen, file, reason, listed: listed.length, gone, url: sandbox.getURL(80) }))
`

describe.skipIf(olderNodes.length === 0)(
  'the built SDK, under an older Node (skipped where PATH has none of 18 to 23)',
  () => {
    let server: WireServer

    beforeAll(async () => {
      server = await WireServer.start()
      const project = resolve('packages/sdk/tsconfig.build.json')
      execFileSync('node_modules/.bin/tsc', ['-p', project, '--outDir', join(folder, 'dist')])
      writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
      writeFileSync(join(folder, 'program.js'), program)
    })
    afterAll(async () => {
      rmSync(folder, { recursive: true, force: true })
      await server[Symbol.asyncDispose]()
    })

    it.each(olderNodes)('$version creates, runs, writes, reads, aborts and kills', async ({ path }) => {
      const environment = { LELANTOS_API_KEY: server.apiKey, LELANTOS_API_URL: server.url }
      const { stdout, stderr } = await run(path, ['program.js'], { cwd: folder, env: environment, timeout: 60_000 })
      expect(stderr).toBe('')
      expect(JSON.parse(stdout)).toEqual({
        result: { stdout: 'in', stderr: 'ü\n', exitCode: 3 },
        seen: ['in'],
        file: 'blob',
        reason: 'enough',
        listed: 1,
        gone: 'sandbox_not_found',
        url: expect.stringMatching(/^http:\/\/80-sbx\w+\.localhost:\d+$/),
      })
      await expect.poll(() => server.guest.running, { timeout: 10_000 }).toBe(0)
    })

    it('imports nothing but itself, and carries its types', () => {
      const files = readdirSync(join(folder, 'dist'), { recursive: true, encoding: 'utf8' })
      expect(files).toContain('index.d.ts')
      expect(files.filter((file) => file.includes('test'))).toEqual([])
      for (const file of files.filter((name) => name.endsWith('.js'))) {
        const imports = readFileSync(join(folder, 'dist', file), 'utf8').matchAll(/(?:from|import\() ?'([^']+)'/g)
        for (const [, target] of imports) expect(target).toMatch(/^\.\.?\//)
      }
    })
  },
)

function findOlderNodes(): { path: string; version: string }[] {
  const found = new Map<string, string>()
  for (const place of [...(process.env['PATH'] ?? '').split(':'), '/usr/bin']) {
    try {
      const path = join(place, 'node')
      const version = execFileSync(path, ['--version'], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      }).trim()
      if (/^v(18|19|20|21|22|23)\./.test(version) && !found.has(version)) found.set(version, path)
    } catch {
      // no Node there
    }
  }
  return [...found].map(([version, path]) => ({ path, version }))
}
