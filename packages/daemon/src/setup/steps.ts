// Set-up is a set of steps, each a pure function of its inputs. A step that is done leaves a stamp: the hash of what it was
// made from and the name of what it made. It is skipped while both still hold, so set-up may be interrupted anywhere and
// goes on where it was. Independent steps run side by side.
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeDurably } from '@lelantos-ai/worker/host/durable'

export interface Step {
  readonly name: string
  /** Steps that must be done before, since this one's inputs or work need what they make. */
  readonly after?: readonly string[]
  /** A hash of everything that what it makes depends on. Cheap: it is computed at every start. */
  readonly inputs: () => Promise<string>
  /** Whether what a former run made is still there. */
  readonly present: (product: string) => Promise<boolean>
  /** Does it, and says what it made: a path, a version. Writes under a temporary name and renames, for it can be killed at any point. */
  readonly run: (context: StepContext) => Promise<string>
}

interface StepContext {
  readonly inputs: string
  readonly signal: AbortSignal
  /** For people: shown beside the step's name. */
  readonly note: (text: string) => void
}

export interface StepReport {
  readonly step: string
  readonly state: 'start' | 'done' | 'skip'
  /** Since the step began; absent at `start`. */
  readonly ms?: number
  readonly note?: string
}

export interface Stamp {
  readonly inputs: string
  readonly product: string
}

export interface StepOptions {
  /** The folder of the stamps. */
  readonly stamps: string
  readonly signal: AbortSignal
  readonly report: (report: StepReport) => void
}

/** A step failed: names it; its cause says why, with the way out where one is known. The next run goes on from there. */
export class StepError extends Error {
  readonly step: string
  constructor(step: string, cause: unknown) {
    super(`set-up stopped at ${step}`, { cause })
    this.name = 'StepError'
    this.step = step
  }
}

/** Reads a step's stamp; `undefined` when it was never done. A stamp that cannot be read counts as none. */
export async function readStamp(stamps: string, step: string): Promise<Stamp | undefined> {
  try {
    const stamp = JSON.parse(await readFile(join(stamps, step), 'utf8')) as Partial<Stamp>
    if (typeof stamp.inputs === 'string' && typeof stamp.product === 'string')
      return { inputs: stamp.inputs, product: stamp.product }
  } catch {
    // never done, or a power cut left an empty file: then it is done again
  }
  return undefined
}

/**
 * Runs what is not done yet. Rejects with the first `StepError`, after every step in flight has ended; no other was
 * begun.
 */
export async function runSteps(steps: readonly Step[], options: StepOptions): Promise<void> {
  await mkdir(options.stamps, { recursive: true, mode: 0o700 })
  const running = new Map<string, Promise<void>>()
  let failure: StepError | undefined
  for (const step of steps) {
    const before = (step.after ?? []).map((name) => {
      const promise = running.get(name)
      if (promise === undefined) throw new Error(`step ${step.name} is listed before ${name}, which it needs`)
      return promise
    })
    const done = Promise.all(before).then(async () => {
      if (failure !== undefined) throw failure
      try {
        await runStep(step, options)
      } catch (error) {
        failure ??= new StepError(step.name, error)
        throw failure
      }
    })
    running.set(step.name, done)
  }
  await Promise.allSettled(running.values())
  if (failure !== undefined) throw failure
}

/** Whether a run would skip it. One whose inputs cannot be told yet is not done. */
export async function isDone(step: Step, stamps: string): Promise<boolean> {
  const stamp = await readStamp(stamps, step.name)
  if (stamp === undefined) return false
  return stamp.inputs === (await step.inputs().catch(() => undefined)) && (await step.present(stamp.product))
}

async function runStep(step: Step, { stamps, signal, report }: StepOptions): Promise<void> {
  signal.throwIfAborted()
  const started = performance.now()
  const elapsed = (): number => Math.round(performance.now() - started)
  const inputs = await step.inputs()
  const stamp = await readStamp(stamps, step.name)
  if (stamp?.inputs === inputs && (await step.present(stamp.product))) {
    report({ step: step.name, state: 'skip', ms: elapsed() })
    return
  }
  report({ step: step.name, state: 'start' })
  let noted: string | undefined
  const product = await step.run({ inputs, signal, note: (text) => (noted = text) })
  await writeDurably(join(stamps, step.name), `${JSON.stringify({ inputs, product } satisfies Stamp)}\n`, 0o644)
  report({ step: step.name, state: 'done', ms: elapsed(), ...(noted === undefined ? {} : { note: noted }) })
}
