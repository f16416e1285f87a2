// A process of the host, named for good. A pid alone is reused; with its start time it is not. Nothing here needs to be
// the parent of what it watches, since VMs outlive the worker that started them.
import { readFileSync } from 'node:fs'

export interface ProcessIdentity {
  readonly pid: number
  /** Field 22 of /proc/PID/stat: clock ticks between the host's boot and the start of the process. */
  readonly startTime: number
}

/** The identity of a live process; `undefined` when there is none of this pid. A zombie has ended and counts as none. */
export function identify(pid: number): ProcessIdentity | undefined {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch (error) {
    // ESRCH: it ended between open and read.
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ESRCH') return undefined
    throw error
  }
  // Field 2 is the program's name in parentheses and may hold spaces and parentheses itself: fields are counted from the last one.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state, threads] = [fields[0], Number(fields[17])]
  if (state === undefined || state === 'X') return undefined
  // The first thread may be a zombie while others still end and hold what the process had open.
  if (state === 'Z' && threads <= 1) return undefined
  return { pid, startTime: Number(fields[19]) }
}

/** Whether that very process still runs; a stopped one (SIGSTOP) does. */
export function isAlive(process: ProcessIdentity): boolean {
  return identify(process.pid)?.startTime === process.startTime
}

/** Sends a signal to that very process; false when it is gone. */
export function sendSignal(target: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isAlive(target)) return false
  try {
    return process.kill(target.pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
    throw error
  }
}

/** Resolves once it is gone; rejects when it is still there after `deadlineMs`. */
export async function waitUntilGone(target: ProcessIdentity, deadlineMs: number): Promise<void> {
  const deadline = performance.now() + deadlineMs
  // A killed VM takes some milliseconds to give back its memory: looked at often at first, then less so.
  for (let pauseMs = 1; isAlive(target); pauseMs = Math.min(pauseMs * 2, 50)) {
    if (performance.now() > deadline) throw new Error(`process ${target.pid} is still there after ${deadlineMs} ms`)
    await new Promise<void>((resolve) => setTimeout(resolve, pauseMs))
  }
}

/** Kills it with SIGKILL and waits until it is gone (10 s unless told otherwise). Idempotent. */
export async function killAndWait(target: ProcessIdentity, deadlineMs = 10_000): Promise<void> {
  sendSignal(target, 'SIGKILL')
  await waitUntilGone(target, deadlineMs)
}
