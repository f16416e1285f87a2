// `up`: installs what is missing, starts the installation, proves it on a real sandbox, and stays until Ctrl-C.
//
//   set-up steps ── lock ── identity ── engine ── parent (postgres, nats, worker, server) ── key ── proof ── wake
//
// Every step can be interrupted and goes on at the next `up`: set-up steps end with a stamp, everything later is state.
import { mkdir } from 'node:fs/promises'
import { LelantosClient } from '@lelantos-ai/sdk'
import { tscKHz } from '@lelantos-ai/worker/host/tsc'
import { readClientFile, writeClientFile } from './client-file.ts'
import { type Config, ConfigError, type Flags, readConfig } from './config.ts'
import { askControl, serveControl } from './control.ts'
import { chooseAccelerator } from './doctor/accelerator.ts'
import { detach } from './detach.ts'
import { homeAt, makeHome, type Home } from './home.ts'
import { type Installation, openInstallation } from './installation.ts'
import { failureLine } from './failure-line.ts'
import { mustBeFree } from './listening.ts'
import { tryLock } from './lock.ts'
import { processLog, readable } from './log.ts'
import { makePlace } from './place.ts'
import { prove } from './proof.ts'
import { type Parent, startParent } from './roles/parent.ts'
import { runSetup, type SetupResult } from './setup/setup.ts'
import { SYSTEM_USER } from './setup/system-user.ts'
import { type Reporter, reporter } from './report.ts'
import { StopSignal } from './stop-signal.ts'
import { version } from './version.ts'

export interface UpFlags extends Flags {
  readonly detach?: boolean
  readonly json?: boolean
  /** Set by `--detach` for the process it leaves behind, which reports over its message channel. */
  readonly reporting?: boolean
}

/** The command. Resolves with its exit code. */
export async function up(flags: UpFlags): Promise<number> {
  const config = readConfig(flags)
  if (process.getuid?.() !== 0) throw new ConfigError('up makes virtual machines and needs root: run it with sudo')
  await makePlace(config.home)
  const home = homeAt(config.home)
  const proved = async (): Promise<void> => (flags.json === true ? tellWhere(home) : undefined)
  if (flags.detach === true) {
    const code = await detach(config)
    if (code === 0) await proved()
    return code
  }
  const report = reporter(flags.reporting === true)
  const stop = new StopSignal()
  await mkdir(home.run, { recursive: true, mode: 0o700 })
  await using lock = await tryLock(home.parent)
  if (lock === undefined) {
    report.say(`another up runs with ${config.home}${await portOf(home)}: stop it with ./lelantos down`)
    report.proved()
    await proved()
    return 0
  }
  try {
    await mustBeFree(config)
    const setup = await runSetup(config, report.step, stop.aborted)
    return await run(config, home, setup, report, stop, proved)
  } catch (error) {
    if (stop.requested) {
      report.say('interrupted: the next up goes on from here')
      return INTERRUPTED
    }
    // Who waits for a detached up sees only what it reports.
    if (flags.reporting === true) report.say(`lelantos: ${failureLine(error)}`)
    await report.flushed()
    throw error
  }
}

/** The answer as data, on standard output. */
async function tellWhere(home: Home): Promise<void> {
  const { apiURL, domain } = await readClientFile(home)
  process.stdout.write(`${JSON.stringify({ state: 'up', apiURL, domain })}\n`)
}

/** Where the one that runs listens, once it does. */
async function portOf(home: Home): Promise<string> {
  try {
    const { port } = (await askControl(home.controlSocket, { verb: 'status' })) as { port: number }
    return ` and listens on port ${port}`
  } catch {
    return ' and is starting or stopping'
  }
}

/** The exit code of a program that Ctrl-C has ended. */
const INTERRUPTED = 130

async function run(
  config: Config,
  home: Home,
  setup: SetupResult,
  report: Reporter,
  stop: StopSignal,
  proved: () => Promise<void>,
): Promise<number> {
  await makeHome(home, setup.user)
  const { installation, key } = await openInstallation(home)
  const accelerator = await report.timed('engine', () => chooseAccelerator(config, setup.artifacts))
  const parent = await report.timed('start', () =>
    startParent(parentOptions(config, installation, key, setup, accelerator.accelerator, report)),
  )
  const control = await serveControl(home.controlSocket, async (request, progress) => {
    if (request.verb === 'inspect') return parent.inspect(request.sandboxID)
    if (request.verb === 'status') return { pid: process.pid, port: parent.port, version }
    return { failed: await stop.by(request.mode, progress) }
  })
  try {
    await bringUp(config, home, parent, report, stop.aborted)
    report.proved()
    await proved()
  } catch (error) {
    if (!stop.requested) {
      await parent.stop('keep', report.say)
      throw error
    }
  }
  const { mode, progress } = await stop.wanted
  const { failed } = await parent.stop(stop.hurried ? 'keep' : mode, (text) => {
    report.say(text)
    progress(text)
  })
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
  await writeClientFile(home, { apiURL, apiKey, domain: config.domain })
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
    return (await readClientFile(home)).apiKey
  } catch {
    return undefined // the first start
  }
}

function whenAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) =>
    signal.addEventListener('abort', () => reject(new Error('interrupted')), { once: true }),
  )
}
