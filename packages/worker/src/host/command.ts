// Runs a program of the host to its end, always with a deadline. Arguments are passed as they are, never through a shell,
// and are no place for secrets: they stand in error messages and in the process list.
import { spawn, type ChildProcess } from 'node:child_process'

export interface CommandOptions {
  /** After this many milliseconds it is killed together with the children in its process group. */
  readonly deadlineMs: number
  /** Text for its standard input, which is empty otherwise. */
  readonly input?: string
  readonly cwd?: string
  /** Replaces the whole environment. */
  readonly env?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
  /** Of standard output, 16 MiB unless given; a program that prints more is killed. */
  readonly outputBytesMax?: number
}

export interface CommandOutput {
  readonly stdout: string
  readonly stderr: string
}

/** The program failed, was killed, ran past its deadline or could not be started: `how`, with the end of what it said. */
export class CommandError extends Error {
  readonly argv: readonly string[]
  readonly how: string
  /** Absent when it did not come to an end of its own. */
  readonly exitCode: number | undefined
  readonly stdout: string
  readonly stderr: string
  constructor(
    argv: readonly string[],
    how: string,
    ended: CommandOutput & { exitCode?: number | undefined; cause?: unknown },
  ) {
    super(`${wordsOf(argv)} ${how}${lastLines(ended.stderr)}`, ended.cause === undefined ? {} : { cause: ended.cause })
    this.name = 'CommandError'
    this.argv = argv
    this.how = how
    this.exitCode = ended.exitCode
    this.stdout = ended.stdout
    this.stderr = ended.stderr
  }
}

/** Of standard error, the last bytes and lines: programs say at their end why they end. */
const STDERR_BYTES_MAX = 65_536
const SHOWN_LINES = 15

/** Resolves with what it printed when it exits with 0, else rejects with `CommandError`. */
export async function command(
  program: string,
  args: readonly string[],
  options: CommandOptions,
): Promise<CommandOutput> {
  options.signal?.throwIfAborted()
  const child = spawn(program, args, {
    cwd: options.cwd,
    ...(options.env ? { env: { ...options.env } } : {}),
    detached: true,
    stdio: 'pipe',
  })
  let stdout = ''
  let stderr = ''
  let failure: { how: string; cause?: unknown } | undefined
  const giveUp = (how: string, cause?: unknown) => {
    failure ??= { how, cause }
    killGroup(child)
  }
  const timer = setTimeout(() => giveUp(`took longer than ${options.deadlineMs} ms`), options.deadlineMs)
  const onAbort = () => giveUp('was aborted', options.signal?.reason)
  options.signal?.addEventListener('abort', onAbort, { once: true })
  const outputBytesMax = options.outputBytesMax ?? 16_777_216
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    if (stdout.length > outputBytesMax) giveUp(`printed more than ${outputBytesMax} bytes`)
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-STDERR_BYTES_MAX)
  })
  // A program that ends without reading its input breaks the pipe; its exit code tells whether that was wrong.
  child.stdin.on('error', () => {})
  child.stdin.end(options.input ?? '')
  const end = await ended(child)
  clearTimeout(timer)
  options.signal?.removeEventListener('abort', onAbort)
  if (!failure && end.exitCode === 0) return { stdout, stderr }
  const { how, exitCode, cause } = failure ? { ...failure, exitCode: undefined } : end
  throw new CommandError([program, ...args], how, { stdout, stderr, exitCode, cause })
}

/** Never rejects. */
function ended(child: ChildProcess): Promise<{ how: string; exitCode?: number; cause?: unknown }> {
  return new Promise((resolve) => {
    child.once('error', (cause) => resolve({ how: 'could not be started', cause }))
    child.once('close', (exitCode, signal) =>
      resolve(exitCode === null ? { how: `was killed by ${signal}` } : { how: `exited with ${exitCode}`, exitCode }),
    )
  })
}

function wordsOf(argv: readonly string[]): string {
  const words = argv.join(' ')
  return words.length > 300 ? `${words.slice(0, 300)}...` : words
}

function lastLines(text: string): string {
  const lines = text.trim().split('\n').slice(-SHOWN_LINES)
  if (lines.length > 1) return `:\n${lines.map((line) => `    ${line}`).join('\n')}`
  return lines[0] === '' ? '' : `: ${lines[0]}`
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    // The group is gone already.
  }
}
