// `npm run check`: everything the repository can say about itself without root or a VM, in under half a minute.
// Steps run side by side; each prints only when it fails. Exit code 0 when all passed.
import { spawn } from 'node:child_process'

const steps: Record<string, string> = {
  types: 'tsc --noEmit -p .',
  lint: 'oxlint --deny-warnings',
  format: 'oxfmt --check',
  tidy: 'node tools/tidy.ts',
  generated: 'node --conditions=source tools/generate.ts --check',
  'dead code': 'knip --no-progress',
  'unit tests': 'vitest run --project unit --reporter=dot',
}

if (!process.version.startsWith('v24.')) {
  console.error(`npm run check needs Node 24, this is ${process.version}: run it through ./lelantos check`)
  process.exit(1)
}

const only = process.argv.slice(2)
const chosen = Object.entries(steps).filter(([name]) => only.length === 0 || only.includes(name))
const results = await Promise.all(chosen.map(([name, command]) => run(name, command)))
process.exit(results.every(Boolean) ? 0 : 1)

async function run(name: string, command: string): Promise<boolean> {
  const started = performance.now()
  const child = spawn(command, {
    shell: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, FORCE_COLOR: '0' },
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  console.log(`${code === 0 ? 'ok  ' : 'FAIL'} ${name} (${seconds} s)`)
  if (code !== 0) console.log(output.replace(/^/gm, '     '))
  return code === 0
}
