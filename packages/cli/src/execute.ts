// From arguments to an exit code: signals, closed pipes and errors are dealt with here, once for all commands.
import { CommanderError } from 'commander'
import { readEnvironment } from './environment.ts'
import { describe, exitCodeOf, exitCodes, Interrupted } from './exit.ts'
import { isClosedPipe, say } from './output.ts'
import { buildProgram } from './program.ts'
import { commandLine, splitRemote } from './remote.ts'

export async function execute(argv: readonly string[]): Promise<number> {
  const environment = readEnvironment()
  const interrupting = new AbortController()
  const interrupt = (signal: NodeJS.Signals) => {
    const reason = new Interrupted(signal)
    // The second time, whatever still goes on is left.
    if (interrupting.signal.aborted) {
      say('lelantos: interrupted again: what was under way is left as it is, `lelantos ls` shows it')
      process.exit(reason.exitCode)
    }
    interrupting.abort(reason)
  }
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt)
  // A write that fails says so to its writer as well; without a listener it would end the process with a stack.
  process.stdout.on('error', () => {})
  process.stderr.on('error', () => {})

  const { own, remote } = splitRemote(argv)
  let exitCode: number = exitCodes.ok
  const program = buildProgram({
    environment,
    signal: interrupting.signal,
    remote: remote === undefined ? undefined : commandLine(remote),
    settle: (outcome) => void (exitCode = outcome ?? exitCodes.ok),
  })
  try {
    await program.parseAsync([...own], { from: 'user' })
    return exitCode
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage
    // The reader has what it wanted, as with `| head`.
    if (isClosedPipe(error)) return exitCodes.ok
    say(describe(error, environment.debug))
    return exitCodeOf(error)
  }
}
