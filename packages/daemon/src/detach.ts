// `up --detach`: the same `up` in a session of its own, and this process shows what it reports until its proof has passed.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Config } from './config.ts'
import { homeAt } from './home.ts'

/** Resolves with 0 once the proof has passed, else with the exit code of the `up`, which has said why. Ctrl-C ends it too. */
export async function detach(config: Config): Promise<number> {
  const home = homeAt(config.home)
  await mkdir(home.logs, { recursive: true, mode: 0o700 })
  const log = openSync(join(home.logs, 'up.log'), 'a', 0o600)
  const args = process.argv.slice(2).filter((word) => !['--detach', '-d', '--json'].includes(word))
  const child = spawn(process.execPath, [...process.execArgv, process.argv[1] ?? '', ...args, '--reporting'], {
    detached: true,
    stdio: ['ignore', log, log, 'ipc'],
  })
  const interrupt = () => void child.kill('SIGTERM')
  process.on('SIGINT', interrupt)
  process.on('SIGTERM', interrupt)
  return new Promise((resolve) => {
    child.on('message', (message: { line?: string; proved?: true }) => {
      if (message.line !== undefined) process.stderr.write(`${message.line}\n`)
      if (message.proved === true) {
        child.disconnect()
        child.unref()
        resolve(0)
      }
    })
    void once(child, 'exit').then(async ([code]) => {
      if (child.connected) await once(child, 'disconnect') // its last words come before that
      resolve(typeof code === 'number' ? code : 1)
    })
  })
}
