// Runs programs of the host. Output is kept, not shown: the end of it is in the error when one fails.
import { spawn } from 'node:child_process'

export interface CommandOptions {
  readonly cwd?: string
  /** Added to the environment of this process. */
  readonly env?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal | undefined
  readonly input?: string
  /**
   * `dies_with_us` is killed, with all it started, when this process ends however it ends. `finishes` runs on in a session of
   * its own, so that neither Ctrl-C nor a kill interrupts it: dpkg must not be stopped halfway.
   */
  readonly fate?: 'dies_with_us' | 'finishes'
}

/** A program of the host failed: names it, its exit and the end of what it said. */
export class CommandError extends Error {
  /** The last 64 KiB of stdout and stderr. */
  readonly output: string
  constructor(message: string, output: string, options?: { cause?: unknown }) {
    super(output === '' ? message : `${message}:\n${tail(output).replace(/^/gm, '    ')}`, options)
    this.name = 'CommandError'
    this.output = output
  }
}

const KEPT = 64 * 1024
const SHOWN_LINES = 15

/** Resolves with stdout when the program exits with 0. Rejects with `CommandError` otherwise. */
export async function command(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const variables = Object.entries(options.env ?? {}).map(([name, value]) => `${name}=${value}`)
  const full = [...(options.fate === 'dies_with_us' ? LEASH : []), 'env', ...variables, ...argv]
  const child = spawn(full[0] ?? '', full.slice(1), {
    cwd: options.cwd ?? '/',
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: options.fate === 'finishes',
  })
  let stdout = ''
  let said = ''
  const stop = (): void => void child.kill('SIGKILL')
  if (options.fate !== 'finishes') options.signal?.addEventListener('abort', stop)
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    said = (said + text).slice(-KEPT)
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-KEPT)))
  child.stdin.on('error', () => {}) // a program that reads no input may be gone before it is written
  child.stdin.end(options.input ?? '')
  const ended = await new Promise<{ how: string; error?: Error }>((resolve) => {
    child.on('error', (error) => resolve({ how: 'cannot be started', error }))
    child.on('close', (code, signal) => resolve({ how: code === 0 ? '' : (signal ?? `exit code ${code}`) }))
  })
  options.signal?.removeEventListener('abort', stop)
  if (ended.how === '') return stdout
  options.signal?.throwIfAborted()
  if (ended.how === `exit code ${NOT_FOUND}` && said.startsWith('env:'))
    throw new CommandError(`${argv[0]} is not installed`, '')
  throw new CommandError(`${argv.slice(0, 3).join(' ')}: ${ended.how}`, said, { cause: ended.error })
}

// What `env` exits with when it finds no such program.
const NOT_FOUND = 127

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

function tail(text: string): string {
  const lines = text.trimEnd().split('\n')
  return lines.slice(-SHOWN_LINES).join('\n')
}
