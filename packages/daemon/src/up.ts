// `up`: installs what is missing, starts the installation, proves it on a real sandbox, and stays until Ctrl-C.
//
//   set-up steps ── lock ── identity ── engine ── parent (postgres, nats, worker, server) ── key ── proof ── wake
//
// Every step can be interrupted and goes on at the next `up`: set-up steps end with a stamp, everything later is state.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { LelantosClient } from '@lelantos-ai/sdk'
import { writeDurably } from '@lelantos-ai/worker/host/durable'
import { tscKHz } from '@lelantos-ai/worker/host/tsc'
import { type Config, ConfigError, type Flags, readConfig } from './config.ts'
import { serveControl } from './control.ts'
import { chooseAccelerator } from './doctor/accelerator.ts'
import { homeAt, makeHome, type Home } from './home.ts'
import { type Installation, openInstallation } from './installation.ts'
import { tryLock } from './lock.ts'
import { processLog, readable } from './log.ts'
import { prove } from './proof.ts'
import type { Suspension } from './roles/messages.ts'
import { type Parent, startParent } from './roles/parent.ts'
import { runSetup, type SetupResult } from './setup/setup.ts'
import { SYSTEM_USER } from './setup/system-user.ts'
import { type Reporter, reporter } from './report.ts'
import { version } from './version.ts'

export interface UpFlags extends Flags {
  readonly detach?: boolean
  /** Set by `--detach` for the process it leaves behind, which reports over its message channel. */
  readonly reporting?: boolean
}

/** The command. Resolves with its exit code. */
export async function up(flags: UpFlags): Promise<number> {
  const config = readConfig(flags)
  if (process.getuid?.() !== 0) throw new ConfigError('up makes virtual machines and needs root: run it with sudo')
  if (flags.detach === true) return detach(config)
  const report = reporter(flags.reporting === true)
  const stop = new StopSignal()
  await mkdir(config.home, { recursive: true, mode: 0o711 })
  const home = homeAt(config.home)
  await mkdir(home.run, { recursive: true, mode: 0o700 })
  await using lock = await tryLock(home.parent)
  if (lock === undefined) {
    report.say(`another up runs with ${config.home}: stop it with ./lelantos down`)
    report.proved()
    return 0
  }
  const setup = await runSetup(config, report.step, stop.aborted)
  return await run(config, home, setup, report, stop)
}

async function run(
  config: Config,
  home: Home,
  setup: SetupResult,
  report: Reporter,
  stop: StopSignal,
): Promise<number> {
  await makeHome(home, setup.user)
  const { installation, key } = await openInstallation(home)
  const accelerator = await report.timed('engine', () => chooseAccelerator(config, setup.artifacts))
  const parent = await report.timed('start', () =>
    startParent(parentOptions(config, installation, key, setup, accelerator.accelerator, report)),
  )
  let failed = 0
  const control = await serveControl(home.controlSocket, async (request, progress) => {
    if (request.verb === 'inspect') return parent.inspect(request.sandboxID)
    if (request.verb === 'status') return { pid: process.pid, port: parent.port, version }
    failed = await stop.by(request.mode, progress)
    return { failed }
  })
  try {
    await bringUp(config, home, parent, report, stop.aborted)
    report.proved()
  } catch (error) {
    if (!stop.requested) {
      await parent.stop('keep', report.say)
      throw error
    }
  }
  const { mode, progress } = await stop.wanted
  const result = await parent.stop(stop.hurried ? 'keep' : mode, (text) => {
    report.say(text)
    progress(text)
  })
  failed = result.failed
  stop.finished(failed)
  control.close()
  report.say(
    failed === 0
      ? 'down'
      : `down; ${failed} sandboxes could not be paused and were left running: the next up takes them over`,
  )
  return failed === 0 ? 0 : 1
}

function parentOptions(
  config: Config,
  installation: Installation,
  key: Uint8Array,
  setup: SetupResult,
  accelerator: 'kvm' | 'tcg',
  report: Reporter,
): Parameters<typeof startParent>[0] {
  return {
    base: {
      config,
      installation: installation.id,
      installationKey: Buffer.from(key).toString('hex'),
      subnet: installation.subnet,
      uidBase: installation.uidBase,
      version,
    },
    worker: {
      workerID: installation.workerID,
      accelerator,
      tscKHz: tscKHz(),
      serverUID: setup.user.uid,
      artifacts: setup.artifacts,
    },
    user: { ...setup.user, name: SYSTEM_USER },
    log: processLog('parent', config.logLevel),
    line: (line) => {
      const text = readable(line)
      if (text !== undefined) report.log(text)
    },
    progress: report.say,
  }
}

/** From running processes to a proven installation. */
async function bringUp(
  config: Config,
  home: Home,
  parent: Parent,
  report: Reporter,
  signal: AbortSignal,
): Promise<void> {
  const apiURL = `http://${config.host === '0.0.0.0' || config.host === '::' ? '127.0.0.1' : config.host}:${parent.port}`
  const apiKey = await parent.apiKey(await knownKey(home))
  await writeDurably(home.client, JSON.stringify({ apiURL, apiKey, domain: config.domain }, undefined, 2), 0o600)
  await report.timed('templates', () => Promise.race([parent.workerReady, whenAborted(signal)]))
  const client = new LelantosClient({ apiKey, baseURL: apiURL, domain: config.domain, timeout: 120_000 })
  await prove(client, (step) => report.step({ step: `sandbox: ${step.name}`, state: 'done', ms: step.ms }))
  const { resumed, failed } = await parent.wake()
  if (resumed + failed > 0)
    report.say(
      `${resumed} sandboxes of the last down are running again${failed > 0 ? `, ${failed} stay paused: see the server's log` : ''}`,
    )
  report.say(
    `\nLelantos is up at ${apiURL}\n\n  eval "$(./lelantos env)"       for the SDKs, E2B's included\n  ./lelantos run -- 'uname -a'    a command in a sandbox of its own\n`,
  )
}

async function knownKey(home: Home): Promise<string | undefined> {
  try {
    return (JSON.parse(await readFile(home.client, 'utf8')) as { apiKey?: string }).apiKey
  } catch {
    return undefined // the first start
  }
}

function whenAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) =>
    signal.addEventListener('abort', () => reject(new Error('interrupted')), { once: true }),
  )
}

/** When to go down, and how: by Ctrl-C, by a signal, or by `down`. A second Ctrl-C leaves the machines running. */
class StopSignal {
  readonly #controller = new AbortController()
  readonly #wanted = Promise.withResolvers<{ mode: Suspension; progress: (text: string) => void }>()
  readonly #finished = Promise.withResolvers<number>()
  #signals = 0

  constructor() {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        this.#signals++
        if (this.#signals === 1) this.#request('pause', () => {})
      })
    }
  }

  get aborted(): AbortSignal {
    return this.#controller.signal
  }

  get requested(): boolean {
    return this.#controller.signal.aborted
  }

  get hurried(): boolean {
    return this.#signals > 1
  }

  get wanted(): Promise<{ mode: Suspension; progress: (text: string) => void }> {
    return this.#wanted.promise
  }

  /** Resolves when everything has stopped, with how many sandboxes could not be suspended. */
  async by(mode: Suspension, progress: (text: string) => void): Promise<number> {
    this.#request(mode, progress)
    return this.#finished.promise
  }

  finished(failed: number): void {
    this.#finished.resolve(failed)
  }

  #request(mode: Suspension, progress: (text: string) => void): void {
    this.#wanted.resolve({ mode, progress })
    this.#controller.abort(new Error('interrupted'))
  }
}

/** Leaves an `up` behind in a session of its own, and shows what it reports until its proof has passed. */
async function detach(config: Config): Promise<number> {
  const home = homeAt(config.home)
  await mkdir(home.logs, { recursive: true, mode: 0o700 })
  const log = openSync(join(home.logs, 'up.log'), 'a', 0o600)
  const args = process.argv.slice(2).filter((word) => word !== '--detach' && word !== '-d')
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
    void once(child, 'exit').then(([code]) => resolve(typeof code === 'number' ? code : 1))
  })
}
