// The executable. Commands of the host are here; those that speak to the API are the CLI's, and `./lelantos` knows which is
// which. Exit codes: 0 done, 1 failed, 2 used wrongly, 130 interrupted.
import { Command, CommanderError } from 'commander'
import { ConfigError, wantsStacks } from './config.ts'
import { failureLine } from './failure-line.ts'
import { version } from './version.ts'

const program = new Command('lelantos')
  .description('Sandboxes for AI agents on your own machine: the commands of the host')
  .version(version)
  .exitOverride()

const settings = (command: Command) =>
  command
    .option('--host <address>', 'address the API listens on (127.0.0.1)')
    .option('--port <port>', 'port the API listens on (3000)')
    .option('--domain <name>', 'sandboxes answer at {port}-{id}.<name>')
    .option('--memory <MB>', 'memory for sandboxes (three quarters of the machine unless given)')
    .option('--vm-disk <size>', 'size of the volume for VM files, 40G say, where one is made')

settings(program.command('up'))
  .description('install what is missing, start, prove it on a real sandbox, and stay until Ctrl-C')
  .option('-d, --detach', 'return once the proof has passed')
  .option('--json', 'where it is up, as JSON')
  .option('--reporting', 'report to the process that detached this one')
  .addHelpText(
    'after',
    '\nCtrl-C pauses every running sandbox; the next up resumes them. A second Ctrl-C leaves them running.\n',
  )
  .action(run(async (flags) => (await import('./up.ts')).up(flags)))

program
  .command('down')
  .description('pause every running sandbox and stop; the next up resumes them')
  .option('--kill', 'end running sandboxes instead')
  .option('--keep-vms', 'leave their machines running: the next up takes them over')
  .option('--json', 'the outcome as JSON')
  .action(run(async (flags) => (await import('./down.ts')).down(flags)))

program
  .command('env')
  .description('print what the SDKs need, for eval "$(./lelantos env)"')
  .option('--json', 'as JSON')
  .action(
    run(async (flags) => {
      const { environment, exportLines } = await import('./env.ts')
      const values = await environment()
      process.stdout.write(flags.json === true ? `${JSON.stringify(values, undefined, 2)}\n` : exportLines(values))
      return 0
    }),
  )

program
  .command('doctor')
  .description('say which engine this machine can use and why, what is missing, and the command that gets it')
  .option('--json', 'as JSON')
  .action(run(async (flags) => (await import('./doctor/command.ts')).doctor(flags)))

program
  .command('inspect')
  .description('show where a sandbox lives on this host: engine, pid, netns, cgroup, address, files')
  .argument('<id>', 'sandbox id')
  .option('--json', 'as JSON')
  .action(run(async (flags, id) => (await import('./inspect.ts')).inspect(id ?? '', flags)))

program
  .command('setup')
  .description('install what is missing, and start nothing')
  .action(run(async () => (await import('./setup/command.ts')).setup()))

program
  .command('role', { hidden: true })
  .argument('<name>', 'server or worker')
  .action(
    run(async (_flags, name) =>
      name === 'server' ? (await import('./roles/server.ts')).server() : (await import('./roles/worker.ts')).worker(),
    ),
  )

// oxlint-disable-next-line typescript/no-explicit-any -- commander hands over whatever options the command has
type Flags = any

/** An action whose result is the exit code, and whose failures are one line each. */
function run(act: (flags: Flags, argument?: string) => Promise<number>): (...args: unknown[]) => Promise<void> {
  return async (...args) => {
    const flags = args.at(-2)
    const argument = args.length > 2 ? String(args[0]) : undefined
    process.exitCode = await act(flags, argument)
  }
}

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? 0 : 2)
  const told = wantsStacks() && error instanceof Error ? error.stack : `lelantos: ${failureLine(error)}`
  process.stderr.write(`${told}\n`)
  process.exit(error instanceof ConfigError ? 2 : 1)
}
// Sockets and timers that a finished command has left must not keep it.
process.exit()
