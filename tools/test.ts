// `./lelantos test [--unit] [--long] [FILE ...]`: installs what the tests need, runs them all, and ends with the line
// `N passed, M failed` (`, K skipped` where some were). Exit code 0 when none failed.
//
//   --unit    only those that need neither root nor a VM        --long    also those that take minutes
//   FILE      only the test files whose path contains it; `guest` stands for the daemon's own, in Go
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { readConfig } from '../packages/daemon/src/config.ts'
import { failureLine } from '../packages/daemon/src/failure-line.ts'
import { reporter } from '../packages/daemon/src/report.ts'
import { goSettings, runGo, runSetup } from '../packages/daemon/src/setup/setup.ts'
import { add, countGo, countVitest, none, summary, type Counts } from './test-counts.ts'

const { values, positionals } = parseArgs({
  options: { unit: { type: 'boolean', default: false }, long: { type: 'boolean', default: false } },
  allowPositionals: true,
})
const root = resolve(import.meta.dirname, '..')
const files = positionals.map((file) => relative(root, resolve(file)).replace(/^(\.\.\/)+.*/, file))
const config = readConfig()
const interrupted = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => interrupted.abort(new Error('interrupted')))

const scratch = await mkdtemp(join(tmpdir(), 'lelantos-test-'))
let counts = none
try {
  const go = await install()
  const environment = {
    ...process.env,
    LELANTOS_HOME: config.home,
    LELANTOS_ARTIFACTS: config.artifacts,
    ...(values.long ? { LELANTOS_LONG: '1' } : {}),
  }
  counts = add(counts, await vitest('unit', environment))
  if (go !== undefined) counts = add(counts, await goTests({ ...environment, ...go }))
  if (!values.unit) counts = add(counts, await vitest('system', environment))
} catch (error) {
  console.error(`lelantos test: ${failureLine(error)}`)
  counts = add(counts, { ...none, failed: 1 })
} finally {
  await rm(scratch, { recursive: true, force: true })
}
if (counts.passed + counts.failed === 0) {
  console.error(files.length === 0 ? 'no tests were found' : `no test file's path contains ${files.join(' or ')}`)
  counts = { ...counts, failed: 1 }
}
console.log(summary(counts))
process.exit(counts.failed === 0 ? 0 : 1)

/** What the tests need; gives Go's environment where Go's tests are to run. */
async function install(): Promise<Record<string, string> | undefined> {
  const report = reporter(false)
  const wantsGo = files.length === 0 || files.some((file) => file.startsWith('guest'))
  if (!values.unit) {
    if (process.getuid?.() !== 0)
      throw new Error(
        'the tests of the whole make virtual machines and need root; those that need none: ./lelantos test --unit',
      )
    await runSetup(config, (step) => report.step(step), interrupted.signal)
    return wantsGo ? goSettings(config) : undefined
  }
  return wantsGo ? runGo(config, (step) => report.step(step), interrupted.signal) : undefined
}

async function vitest(project: string, env: NodeJS.ProcessEnv): Promise<Counts> {
  const output = join(scratch, `${project}.json`)
  const options = ['run', '--project', project, '--passWithNoTests', '--reporter=default', '--reporter=json']
  const argv = [join(root, 'node_modules/vitest/vitest.mjs'), ...options, `--outputFile.json=${output}`, ...files]
  const code = await run(process.execPath, argv, { cwd: root, env })
  return countVitest(await readFile(output, 'utf8').catch(() => ''), code)
}

async function goTests(env: NodeJS.ProcessEnv): Promise<Counts> {
  let events = ''
  const flags = ['test', '-json', ...(values.long ? [] : ['-short']), './...']
  const code = await run(
    'go',
    flags,
    { cwd: join(root, 'guest'), env: { ...env, GOFLAGS: '-buildvcs=false' } },
    (text) => {
      events += text
    },
  )
  const { counts: counted, failures } = countGo(events, code)
  if (failures !== '') console.log(failures)
  console.log(`\n Go: ${summary(counted)}`)
  return counted
}

/** Runs a program to its end, its output shown unless it is taken. Ctrl-C reaches it by itself, being in our group. */
function run(
  program: string,
  argv: string[],
  options: { cwd: string; env: NodeJS.ProcessEnv },
  take?: (text: string) => void,
): Promise<number> {
  interrupted.signal.throwIfAborted()
  const child = spawn(program, argv, {
    ...options,
    stdio: ['ignore', take === undefined ? 'inherit' : 'pipe', 'inherit'],
  })
  child.stdout?.setEncoding('utf8').on('data', take ?? (() => {}))
  return new Promise((done, failed) => {
    child.on('error', failed)
    child.on('close', (code) => done(code ?? 1))
  })
}
