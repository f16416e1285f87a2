// Following a command in a sandbox: its output here as it comes, what is piped here to its input, Ctrl-C to its end.
import { fstatSync } from 'node:fs'
import type { Command, CommandLine, SandboxHandle } from '@lelantos-ai/sdk'
import type { Context } from './context.ts'
import { exitCodes } from './exit.ts'
import { isClosedPipe, printJSON, write } from './output.ts'

export interface FollowOptions {
  readonly user?: string | undefined
  readonly cwd?: string | undefined
  readonly envs?: Record<string, string> | undefined
  /** Takes the standard input also where it is a terminal. */
  readonly interactive?: boolean | undefined
}

/** How long a command has to end by itself after Ctrl-C. */
const TERMINATE_MS = 2000

/** Resolves with the exit code to pass on. */
export async function follow(
  context: Context,
  sandbox: SandboxHandle,
  line: CommandLine,
  options: FollowOptions,
): Promise<number> {
  const { user, cwd, envs } = options
  const stdin = options.interactive === true || isPiped()
  const command = await sandbox.commands.start(line, { user, cwd, envs, stdin })
  const stopping = new AbortController()
  const interrupt = () => void terminate(command, stopping.signal)
  if (context.signal.aborted) interrupt()
  context.signal.addEventListener('abort', interrupt, { once: true })
  let inputFailure: unknown
  if (stdin) {
    command.feed(process.stdin).catch(async (error: unknown) => {
      inputFailure = error
      await command.kill().catch(() => {})
    })
  }
  try {
    const output = context.json ? await gather(command) : await pass(command)
    if (inputFailure !== undefined) throw inputFailure
    if (output !== undefined) await printJSON({ ...output, exitCode: command.exitCode })
    if (context.signal.aborted) throw context.signal.reason
    return command.exitCode ?? exitCodes.failure
  } catch (error) {
    if (!isClosedPipe(error)) throw error
    await command.kill('SIGTERM').catch(() => {})
    return exitCodes.brokenPipe
  } finally {
    stopping.abort()
    context.signal.removeEventListener('abort', interrupt)
  }
}

async function pass(command: Command): Promise<undefined> {
  for await (const event of command) {
    if (event.type !== 'end') await write(event.type === 'stdout' ? process.stdout : process.stderr, event.bytes)
  }
}

async function gather(command: Command): Promise<{ stdout: string; stderr: string }> {
  const chunks = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] }
  for await (const event of command) if (event.type !== 'end') chunks[event.type].push(event.bytes)
  return { stdout: Buffer.concat(chunks.stdout).toString(), stderr: Buffer.concat(chunks.stderr).toString() }
}

async function terminate(command: Command, ended: AbortSignal): Promise<void> {
  try {
    await command.kill('SIGTERM')
    if (ended.aborted) return
    const timer = setTimeout(() => void command.kill('SIGKILL').catch(() => {}), TERMINATE_MS)
    ended.addEventListener('abort', () => clearTimeout(timer), { once: true })
  } catch {
    // The sandbox does not answer: reading its output fails too, and that is what is reported.
  }
}

/** A pipe, a file or a socket; not a terminal, and not /dev/null. */
function isPiped(): boolean {
  try {
    const kind = fstatSync(0)
    return kind.isFIFO() || kind.isFile() || kind.isSocket()
  } catch {
    return false // closed
  }
}
