// Runs programs of the host as set-up needs it: for as long as they take, in an environment that is only added to, and with
// a say in what becomes of them when set-up itself is ended.
import { command as run, CommandError } from '@lelantos-ai/worker/host/command'

export interface CommandOptions {
  readonly cwd?: string
  /** Added to the environment of this process. */
  readonly env?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal | undefined
  /**
   * `dies_with_us` is killed, with all it started, when this process ends however it ends. `finishes` runs on in a session of
   * its own, so that neither Ctrl-C nor a kill interrupts it: dpkg must not be stopped halfway.
   */
  readonly fate?: 'dies_with_us' | 'finishes'
}

/** A download takes as long as the network does, and dpkg says as much as it has to: this is the longest that a timer waits. */
const UNBOUNDED = { deadlineMs: 2 ** 31 - 1, outputBytesMax: Number.POSITIVE_INFINITY }

/** Resolves with stdout when the program exits with 0. Rejects with `CommandError`, or with the reason of an abort. */
export async function command(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { cwd = '/', env = {}, fate, signal } = options
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`)
  const [program = '', ...args] = [...(fate === 'dies_with_us' ? LEASH : []), 'env', ...variables, ...argv]
  const interruption = fate === 'finishes' || signal === undefined ? {} : { signal }
  try {
    return (await run(program, args, { ...UNBOUNDED, cwd, ...interruption })).stdout
  } catch (error) {
    signal?.throwIfAborted()
    if (!(error instanceof CommandError)) throw error
    if (error.exitCode === NOT_FOUND && error.stderr.startsWith('env:'))
      throw new CommandError(argv.slice(0, 1), NOT_INSTALLED, { stdout: '', stderr: '' })
    // People know the program by its own words, not by those that it was started through.
    throw new CommandError(argv.slice(0, 3), error.how, error)
  }
}

// What `env` exits with when it finds no such program.
const NOT_FOUND = 127
const NOT_INSTALLED = 'is not installed'

/** Whether a program failed because it is not there. */
export function isNotInstalled(error: unknown): error is CommandError {
  return error instanceof CommandError && error.how === NOT_INSTALLED
}

// The first process of a pid namespace takes everything in it along when it dies, and it dies with its parent.
const LEASH = [
  'setpriv',
  '--pdeathsig',
  'KILL',
  'unshare',
  '--pid',
  '--fork',
  '--kill-child',
  '--mount',
  '--mount-proc',
]
