// Everything that must be there before an installation can start, as steps:
//
//   tools ─┬─ packages                          (QEMU, PostgreSQL, NATS, ...)
//          ├─ base-image
//          ├─ kernel ────────────┐
//          └─ go ── guest-daemon ┴─ initramfs
//   system-user
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { withLock } from '../lock.ts'
import { readArtifact, sweepArtifacts } from './artifact.ts'
import { baseImageStep } from './base-image.ts'
import { goEnvironment, goStep } from './go.ts'
import { guestStep, initramfsStep } from './guest.ts'
import { kernelStep } from './kernel.ts'
import { packagesStep, toolsStep } from './packages.ts'
import { isDone, readStamp, runSteps } from './steps.ts'
import type { Step, StepReport } from './steps.ts'
import { findUser, systemUserStep } from './system-user.ts'
import type { SystemUser } from './system-user.ts'

export interface SetupOptions {
  /** The state folder. */
  readonly home: string
  /** Where kernel, guest daemon and images are; several installations may share it. */
  readonly artifacts: string
  /** The checkout. */
  readonly repository: string
}

/** What machines start from: absolute paths of files that never change. */
export interface Artifacts {
  readonly kernel: string
  readonly initramfs: string
  readonly image: string
  /** The guest daemon that is in the initramfs. */
  readonly guest: string
  /** Hashes of their contents; the initramfs' stands for the guest, since its modules are part of a snapshot too. */
  readonly madeWith: { readonly kernel: string; readonly guest: string; readonly image: string }
}

export interface SetupResult {
  readonly user: SystemUser
  readonly artifacts: Artifacts
}

/**
 * Does what is not done yet. Resolves in tens of milliseconds when nothing is. Rejects with `StepError`. Two at once for the
 * same state folder follow each other.
 */
export async function runSetup(
  options: SetupOptions,
  report: (report: StepReport) => void,
  signal: AbortSignal,
): Promise<SetupResult> {
  const stamps = stampsOf(options.home)
  await mkdir(stamps, { recursive: true, mode: 0o700 })
  const work = async (): Promise<SetupResult> => {
    await sweepArtifacts(options.artifacts)
    await runSteps(steps(options), { stamps, signal, report })
    const user = await findUser()
    if (user === undefined) throw new Error('the system user lelantos is gone from /etc/passwd')
    return { user, artifacts: await artifacts(options) }
  }
  return withLock(join(stamps, '.lock'), work, LOCK_SECONDS)
}

/** The longest that another set-up of the same installation is waited for. */
const LOCK_SECONDS = 900

/** The steps in an order that their needs allow. */
function steps(options: SetupOptions): Step[] {
  const guest = { ...options, stamps: stampsOf(options.home) }
  return [
    systemUserStep(),
    toolsStep(),
    baseImageStep(options),
    kernelStep(options.artifacts),
    goStep(options),
    guestStep(guest),
    initramfsStep(guest),
    packagesStep(),
  ]
}

/** The names of the steps that a set-up would run now. */
export async function missingSteps(options: SetupOptions): Promise<string[]> {
  const undone: string[] = []
  for (const step of steps(options)) if (!(await isDone(step, stampsOf(options.home)))) undone.push(step.name)
  return undone
}

/** What set-up has made. Rejects, naming the step, when something is not made yet: `./lelantos setup` makes it. */
export async function artifacts(options: Pick<SetupOptions, 'home'>): Promise<Artifacts> {
  const folder = async (step: string): Promise<string> => {
    const stamp = await readStamp(stampsOf(options.home), step)
    if (stamp === undefined) throw new Error(`the ${step} is not made yet: run ./lelantos setup`)
    return stamp.product
  }
  const [kernel, initramfs, image, guest] = await Promise.all(
    ['kernel', 'initramfs', 'base-image', 'guest-daemon'].map(folder),
  )
  const hash = async (artifact = ''): Promise<string> => (await readArtifact(artifact)).hash
  return {
    kernel: join(kernel ?? '', 'vmlinux'),
    initramfs: join(initramfs ?? '', 'initramfs.cpio'),
    image: join(image ?? '', 'base.ext4'),
    guest: join(guest ?? '', 'lelantosd'),
    madeWith: { kernel: await hash(kernel), guest: await hash(initramfs), image: await hash(image) },
  }
}

/** Only what building and testing the guest's Go code needs; gives the environment for it. */
export async function runGo(
  options: SetupOptions,
  report: (report: StepReport) => void,
  signal: AbortSignal,
): Promise<Record<string, string>> {
  const stamps = stampsOf(options.home)
  const go = { ...goStep(options), after: [] }
  await runSteps([go], { stamps, signal, report })
  return goSettings(options)
}

/** The environment in which the guest's Go code is built and tested here, once set-up is done. */
export async function goSettings(options: Pick<SetupOptions, 'home'>): Promise<Record<string, string>> {
  const go = await readStamp(stampsOf(options.home), 'go')
  if (go === undefined) throw new Error('Go is not there yet: run ./lelantos setup')
  return goEnvironment(options.home, go.product)
}

function stampsOf(home: string): string {
  return join(home, 'stamps')
}
