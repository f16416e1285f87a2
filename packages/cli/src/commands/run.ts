// Create, run, kill. The sandbox goes in every case: the command ended, failed to start, or was interrupted.
import type { CommandLine } from '@lelantos-ai/sdk'
import type { Context } from '../context.ts'
import { exitCodeOf } from '../exit.ts'
import { follow } from '../follow.ts'
import { say } from '../output.ts'
import { progress } from '../progress.ts'

export interface RunFlags {
  readonly timeout?: number
  readonly env?: Record<string, string>
  readonly metadata?: Record<string, string>
  readonly user?: string
  readonly cwd?: string
  readonly interactive?: boolean
}

export async function run(context: Context, templateID: string, flags: RunFlags, line: CommandLine): Promise<number> {
  const request = { templateID, timeout: flags.timeout, envVars: flags.env, metadata: flags.metadata }
  // Not abortable: a create that is given up may still make a sandbox, which nobody would kill.
  const sandbox = await progress(`creating a sandbox from ${templateID}`, context.client.createSandbox(request))
  try {
    context.signal.throwIfAborted()
    return await follow(context, sandbox, line, flags)
  } finally {
    await sandbox.kill().catch((error: unknown) => {
      const gone = exitCodeOf(error) === 3
      if (!gone) say(`lelantos: ${sandbox.sandboxID} could not be killed: ${(error as Error).message}`)
    })
  }
}
