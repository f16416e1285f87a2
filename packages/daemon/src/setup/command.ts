// `lelantos setup`: what `up` does before it starts anything.
import { ConfigError, readConfig } from '../config.ts'
import { makePlace } from '../place.ts'
import { reporter } from '../report.ts'
import { runSetup } from './setup.ts'

/** The command. Resolves with its exit code. */
export async function setup(): Promise<number> {
  if (process.getuid?.() !== 0) throw new ConfigError('setup installs packages and needs root: run it with sudo')
  const config = readConfig()
  await makePlace(config.home)
  const interrupted = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => interrupted.abort(new Error('interrupted; the next run goes on from here')))
  const report = reporter(false)
  const started = performance.now()
  const { artifacts } = await runSetup(config, (step) => report.step(step), interrupted.signal)
  report.say(`set up in ${((performance.now() - started) / 1000).toFixed(1)} s`)
  for (const [name, path] of Object.entries(artifacts))
    if (typeof path === 'string') report.say(`  ${name.padEnd(10)} ${path}`)
  return 0
}
