// How a long command tells people what it does: a line per step with its time, on standard error, since standard output is
// for data. A detached `up` sends the same lines over its message channel to the process that shows them.
import type { StepReport } from './setup/steps.ts'

export interface Reporter {
  readonly step: (report: StepReport) => void
  readonly say: (text: string) => void
  /** A line of a child's log: shown once the installation is up, kept out of the way of the steps before. */
  log(text: string): void
  /** Does something and reports it as a step. */
  timed<T>(name: string, act: () => Promise<T>): Promise<T>
  /** The proof has passed: whoever waits for a detached `up` may go. */
  proved(): void
  /** Resolves when what was said has left this process, which may then end. */
  flushed(): Promise<void>
}

/** Steps that took less than this are not worth a line when they changed nothing. */
const WORTH_A_LINE_MS = 300

export function reporter(overChannel: boolean): Reporter {
  let proved = false
  let sent = Promise.resolve()
  const line = (text: string) => {
    if (overChannel && process.connected)
      sent = new Promise((resolve) => process.send?.({ line: text }, () => resolve()))
    else process.stderr.write(`${text}\n`)
  }
  const step = ({ step: name, state, ms = 0, note }: StepReport) => {
    if (state === 'start') {
      if (process.stderr.isTTY && !overChannel) process.stderr.write(`  ... ${name}\r`)
      return
    }
    if (state === 'skip' && ms < WORTH_A_LINE_MS) return
    line(`  ${name.padEnd(24)} ${seconds(ms)}${note === undefined ? '' : `  ${note}`}`)
  }
  return {
    step,
    say: line,
    log: (text) => {
      if (proved && !overChannel) process.stderr.write(`${text}\n`)
    },
    timed: async (name, act) => {
      const began = performance.now()
      step({ step: name, state: 'start', ms: 0 })
      const result = await act()
      step({ step: name, state: 'done', ms: performance.now() - began })
      return result
    },
    proved: () => {
      proved = true
      if (overChannel && process.connected) process.send?.({ proved: true })
    },
    flushed: () => sent,
  }
}

function seconds(ms: number): string {
  return ms < 1000 ? `${String(Math.round(ms)).padStart(5)} ms` : `${(ms / 1000).toFixed(1).padStart(6)} s`
}
