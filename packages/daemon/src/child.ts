// Programs of the host that run as children of a parent, for as long as it does.
import { type ChildProcess, spawn, type StdioOptions } from 'node:child_process'

export interface RunAs {
  readonly user: { readonly uid: number; readonly gid: number }
  /** What it gets when its parent dies, however that dies. */
  readonly atParentsDeath: 'INT' | 'KILL'
  readonly cwd: string
  readonly stdio: StdioOptions
  /** Beside `PATH`; nothing of this process's environment is passed on. */
  readonly env?: Readonly<Record<string, string>>
}

/** Starts a program as a user, without a capability and without a way to get one. */
export function spawnAs(options: RunAs, program: string, args: readonly string[]): ChildProcess {
  const { uid, gid } = options.user
  const identity = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--no-new-privs']
  return spawn('setpriv', [...identity, `--pdeathsig=${options.atParentsDeath}`, program, ...args], {
    cwd: options.cwd,
    stdio: options.stdio,
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ...options.env },
  })
}

/** Settles when a child has ended, with words that say how: a signal, an exit code, or why it could not be started. Never rejects. */
export function endOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`))
  })
}
