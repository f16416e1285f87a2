// A lock between processes, of the kernel's own making (flock), so that a holder that dies, however it dies, has let go.
// Node has no flock: a child of util-linux's `flock` holds it for as long as we hold the child's standard input.
import { spawn } from 'node:child_process'
import { once } from 'node:events'

export interface Lock extends AsyncDisposable {}

/** Takes the lock, or `undefined` at once when another process has it. The file is made if it is not there, and stays. */
export async function tryLock(path: string): Promise<Lock | undefined> {
  return take(path, ['--nonblock'])
}

/** Does something while holding a lock. Rejects when another process has not let go after 30 s, or as many as are given. */
export async function withLock<T>(path: string, act: () => Promise<T>, seconds = 30): Promise<T> {
  await using lock = await take(path, ['--timeout', String(seconds)])
  if (lock === undefined) throw new Error(`another process has held ${path} for more than ${seconds} s`)
  return await act()
}

const HELD_ELSEWHERE = 75

async function take(path: string, options: string[]): Promise<Lock | undefined> {
  // A session of its own: Ctrl-C in a terminal must not end the lock before the one who holds it.
  const holder = spawn(
    'flock',
    [...options, '--conflict-exit-code', String(HELD_ELSEWHERE), path, 'sh', '-c', 'echo held; exec cat'],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
      detached: true,
    },
  )
  const exited = once(holder, 'exit') as Promise<[number | null]>
  const held = await Promise.race([once(holder.stdout, 'data').then(() => true), exited.then(() => false)])
  if (!held) {
    const [code] = await exited
    if (code === HELD_ELSEWHERE) return undefined
    throw new Error(`${path} could not be locked: flock exited with ${code}`)
  }
  holder.unref()
  return {
    [Symbol.asyncDispose]: async () => {
      holder.ref() // or a process that waits for nothing else would end here
      holder.stdin.end()
      await exited
    },
  }
}
