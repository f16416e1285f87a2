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

/** The program failed, was killed, ran past its deadline or could not be started. */
export class CommandError extends Error {
  readonly program: string
  /** Absent when it did not come to an end of its own. */
  readonly exitCode: number | undefined
  readonly stderr: string
  constructor(
    message: string,
    about: { program: string; exitCode?: number | undefined; stderr: string },
    options?: ErrorOptions,
  ) {
    super(message, options)
    this.name = 'CommandError'
    this.program = about.program
    this.exitCode = about.exitCode
    this.stderr = about.stderr
  }
}

const STDERR_BYTES_MAX = 65_536

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
  let failure: { message: string; cause?: unknown } | undefined
  const giveUp = (message: string, cause?: unknown) => {
    failure ??= { message, cause }
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
    if (stderr.length < STDERR_BYTES_MAX) stderr += text.slice(0, STDERR_BYTES_MAX - stderr.length)
  })
  // A program that ends without reading its input breaks the pipe; its exit code tells whether that was wrong.
  child.stdin.on('error', () => {})
  child.stdin.end(options.input ?? '')
  try {
    const end = await ended(child)
    if (!failure && end.exitCode === 0) return { stdout, stderr }
    const what = failure?.message ?? (end.signal ? `was killed by ${end.signal}` : `exited with ${end.exitCode}`)
    const words = [program, ...args].join(' ')
    throw new CommandError(
      `${words.length > 300 ? `${words.slice(0, 300)}...` : words} ${what}${stderr ? `: ${stderr.trim()}` : ''}`,
      { program, exitCode: failure ? undefined : (end.exitCode ?? undefined), stderr },
      failure?.cause === undefined ? undefined : { cause: failure.cause },
    )
  } catch (error) {
    if (error instanceof CommandError) throw error
    throw new CommandError(`${program} could not be started`, { program, stderr }, { cause: error })
  } finally {
    clearTimeout(timer)
    options.signal?.removeEventListener('abort', onAbort)
  }
}

function ended(child: ChildProcess): Promise<{ exitCode: number | null; signal: NodeJS.Signals | null }> {
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (exitCode, signal) => resolve({ exitCode, signal }))
  })
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    // The group is gone already.
  }
}
