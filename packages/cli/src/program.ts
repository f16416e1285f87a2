// The command tree: names, arguments, options and help. What a command does is in `commands/`, imported when it is called.
import { Command } from 'commander'
import type { CommandLine } from '@lelantos-ai/sdk'
import type { Context, Outcome } from './context.ts'
import type { Environment } from './environment.ts'
import { exitCodesHelp } from './exit.ts'
import { hostCommands, hostHelp } from './host.ts'
import { pairs, seconds, usage, whole } from './options.ts'
import { needLine } from './remote.ts'

export interface Setting {
  readonly environment: Environment
  readonly signal: AbortSignal
  /** What stood after `--`. */
  readonly remote: CommandLine | undefined
  readonly settle: (exitCode: number | void) => void
}

/** Calls a command with its context, and keeps its exit code. */
type Run = (command: Command, act: (context: Context) => Outcome) => Promise<void>

export function buildProgram(setting: Setting): Command {
  const program = new Command('lelantos')
    .description('Sandboxes for AI agents: microVMs that start in an instant, pause with their memory and resume.')
    .version('0.1.0', '--version')
    .helpCommand(false)
    .showHelpAfterError('(`lelantos --help` shows what there is)')
    .exitOverride()
    .usage('COMMAND [options]')
    .configureHelp({ subcommandTerm: (command) => `${command.name()} ${command.usage().replace('[options] ', '')}` })
    .addHelpText('after', help)
    .on('command:*', ([name = '']: string[]) => {
      if (name in hostCommands) throw usage(`${name} is a command of the host: ./lelantos ${name}`)
      throw usage(`there is no command ${JSON.stringify(name)}: lelantos --help lists them`)
    })
  const run: Run = async (command, act) => {
    const { connect } = await import('./connect.ts')
    const json = (command.optsWithGlobals() as { json?: boolean }).json === true
    const client = await connect(setting.environment)
    setting.settle(await act({ client, json, signal: setting.signal }))
  }
  addCommands(program, run, setting)
  addMoves(program, run)
  addSights(program, run)
  addTeam(program, run)
  return program
}

const help = `
${hostHelp}

An id may be cut to any prefix that fits one sandbox. Every command has --json and --help.

Which installation: LELANTOS_API_KEY, LELANTOS_API_URL and LELANTOS_DOMAIN, else the one on this machine
(LELANTOS_HOME, /var/lib/lelantos unless set). LELANTOS_DEBUG=1 shows errors with their stack.

${exitCodesHelp}

Examples:
  id=$(lelantos create) && lelantos exec $id -- uname -a && lelantos kill $id
  lelantos run -- python3 -c 'print(6 * 7)'`

function add(parent: Command, usageText: string, description: string, examples: readonly string[]): Command {
  return parent
    .command(usageText)
    .description(description)
    .option('--json', 'data as JSON on stdout')
    .addHelpText('after', `\nExamples:\n${examples.map((example) => `  ${example}`).join('\n')}`)
}

function addCommands(program: Command, run: Run, { remote }: Setting): void {
  add(program, 'create [template]', 'create a sandbox, from base unless a template is named; prints its id', [
    'id=$(lelantos create --timeout 2h)',
    'lelantos create python --env MODE=x --metadata user=u1 --json',
  ])
    .option('--timeout <s>', 'seconds (or 10m, 2h) until it ends; 0 for never', seconds('--timeout'))
    .option('-e, --env <name=value>', 'in the environment of every process; may be repeated', pairs('--env'))
    .option('-m, --metadata <name=value>', 'to find it by; may be repeated', pairs('--metadata'))
    .action(async (template: string | undefined, flags, command: Command) => {
      const { create } = await import('./commands/create.ts')
      await run(command, async (context) => await create(context, template ?? 'base', flags))
    })

  const quoting =
    '\nSeveral words after -- are a program and its arguments, as they are. A single word with a space, or a character' +
    '\nthat means something to a shell, is a shell command: /bin/bash -l -c WORD.\n'
  add(program, 'run [template]', 'create a sandbox, run a command in it, kill it; passes the exit code on', [
    "lelantos run -- 'echo $HOME | tr a-z A-Z'",
    'lelantos run python --env MODE=x -- python3 -c "print(1)" < input',
  ])
    .usage('[template] [options] -- COMMAND...')
    .addHelpText('after', quoting)
    .option('--timeout <s>', 'seconds (or 10m, 2h) until it ends in any case', seconds('--timeout'))
    .option('-e, --env <name=value>', 'in the environment of every process; may be repeated', pairs('--env'))
    .option('-m, --metadata <name=value>', 'to find it by; may be repeated', pairs('--metadata'))
    .option('-u, --user <name>', 'root unless given')
    .option('--cwd <folder>', "the user's home unless given")
    .option('-i, --interactive', 'take the standard input also from a terminal')
    .action(async (template: string | undefined, flags, command: Command) => {
      const line = needLine(remote, 'lelantos run -- echo hello')
      const runIn = await import('./commands/run.ts')
      await run(command, async (context) => await runIn.run(context, template ?? 'base', flags, line))
    })

  add(program, 'exec <id>', 'run a command in a sandbox: output as it comes, what is piped as its input', [
    'lelantos exec sbx1a -- ls -l /',
    "lelantos exec sbx1a -- 'cd /app && npm test'",
    'tar c folder | lelantos exec sbx1a --cwd /tmp -- tar x',
  ])
    .usage('<id> [options] -- COMMAND...')
    .addHelpText('after', `${quoting}Ctrl-C ends the command in the sandbox.\n`)
    .option('-u, --user <name>', 'root unless given')
    .option('--cwd <folder>', "the user's home unless given")
    .option('-e, --env <name=value>', 'added to its environment; may be repeated', pairs('--env'))
    .option('-i, --interactive', 'take the standard input also from a terminal')
    .action(async (id: string, flags, command: Command) => {
      const line = needLine(remote, `lelantos exec ${id} -- ls -l`)
      const { exec } = await import('./commands/exec.ts')
      await run(command, async (context) => await exec(context, id, flags, line))
    })

  add(program, 'cp <source> <destination>', 'copy a file, ID:PATH on either side; - is a pipe', [
    'lelantos cp data.csv sbx1a:/home/user/',
    'lelantos cp sbx1a:/var/log/dpkg.log - | tail',
  ])
    .option('-u, --user <name>', 'whose file in the sandbox; root unless given')
    .action(async (source: string, destination: string, flags, command: Command) => {
      const { cp } = await import('./commands/cp.ts')
      await run(command, async (context) => await cp(context, source, destination, flags))
    })
}

function addMoves(program: Command, run: Run): void {
  const moves = async () => await import('./commands/moves.ts')
  add(program, 'pause <id>', 'write memory and disk out and release the host', ['lelantos pause sbx1a']).action(
    async (id: string, _flags, command: Command) => {
      const { pause } = await moves()
      await run(command, async (context) => await pause(context, id))
    },
  )
  add(program, 'resume <id>', 'bring a paused sandbox back exactly as it was', ['lelantos resume sbx1a --timeout 1h'])
    .option('--timeout <s>', 'seconds (or 10m, 2h) until it ends; the last set unless given', seconds('--timeout'))
    .action(async (id: string, flags, command: Command) => {
      const { resume } = await moves()
      await run(command, async (context) => await resume(context, id, flags))
    })
  add(program, 'timeout <id> <s>', 'set when it ends, counted from now; 0 for never', [
    'lelantos timeout sbx1a 2h',
  ]).action(async (id: string, text: string, _flags, command: Command) => {
    const { timeout } = await moves()
    const wanted = seconds('timeout')(text)
    await run(command, async (context) => await timeout(context, id, wanted))
  })
  add(program, 'kill [ids...]', 'end sandboxes, from whatever state', [
    'lelantos kill sbx1a sbx2b',
    'lelantos kill --all',
  ])
    .option('--all', 'every live sandbox of the team')
    .action(async (ids: string[], flags, command: Command) => {
      const { kill } = await moves()
      await run(command, async (context) => await kill(context, ids, flags))
    })
}

function addSights(program: Command, run: Run): void {
  add(program, 'ls', 'list sandboxes', ['lelantos ls --metadata user=u1', 'lelantos ls --state paused --json'])
    .option('--state <states>', 'created, running, paused, killed, stopped; several with commas')
    .option('-m, --metadata <name=value>', 'only those with it; may be repeated', pairs('--metadata'))
    .option('--all', 'those that have ended too')
    .action(async (flags, command: Command) => {
      const { ls } = await import('./commands/ls.ts')
      await run(command, async (context) => await ls(context, flags))
    })
  add(program, 'get <id>', 'everything about one sandbox', ['lelantos get sbx1a --json']).action(
    async (id: string, _flags, command: Command) => {
      const { get } = await import('./commands/get.ts')
      await run(command, async (context) => await get(context, id))
    },
  )
  add(program, 'logs <id>', 'lifecycle events, readable after the end', ['lelantos logs sbx1a'])
    .option('--start <n>', 'skip so many', whole('--start', 0, Number.MAX_SAFE_INTEGER))
    .option('--limit <n>', 'print at most so many; all unless given', whole('--limit', 1, Number.MAX_SAFE_INTEGER))
    .action(async (id: string, flags, command: Command) => {
      const { logs } = await import('./commands/watch.ts')
      await run(command, async (context) => await logs(context, id, flags))
    })
  add(program, 'metrics <id>', 'CPU, memory and disk of a running sandbox', ['lelantos metrics sbx1a']).action(
    async (id: string, _flags, command: Command) => {
      const { metrics } = await import('./commands/watch.ts')
      await run(command, async (context) => await metrics(context, id))
    },
  )
}

function addTeam(program: Command, run: Run): void {
  const template = program.command('template').description('templates: ls')
  add(template, 'ls', 'the templates your team can use', ['lelantos template ls']).action(
    async (_flags, command: Command) => {
      const { listTemplates } = await import('./commands/template.ts')
      await run(command, listTemplates)
    },
  )
  const keys = async () => await import('./commands/key.ts')
  const key = program.command('key').description('API keys: create, ls, rm')
  add(key, 'create <name>', 'make a key; it is printed this once', ['lelantos key create ci']).action(
    async (name: string, _flags, command: Command) => {
      const { createKey } = await keys()
      await run(command, async (context) => await createKey(context, name))
    },
  )
  add(key, 'ls', 'the keys of your team', ['lelantos key ls']).action(async (_flags, command: Command) => {
    const { listKeys } = await keys()
    await run(command, listKeys)
  })
  add(key, 'rm <id>', 'delete a key; it stops working at once', ['lelantos key rm key1a']).action(
    async (id: string, _flags, command: Command) => {
      const { deleteKey } = await keys()
      await run(command, async (context) => await deleteKey(context, id))
    },
  )
}
