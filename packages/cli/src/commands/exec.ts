import type { CommandLine } from '@lelantos-ai/sdk'
import type { Context } from '../context.ts'
import { follow, type FollowOptions } from '../follow.ts'
import { pick } from '../pick.ts'

export interface ExecFlags extends Omit<FollowOptions, 'envs'> {
  readonly env?: Record<string, string>
}

export async function exec(
  context: Context,
  id: string,
  { env, ...flags }: ExecFlags,
  line: CommandLine,
): Promise<number> {
  const sandbox = context.client.sandbox(await pick(context, id))
  return await follow(context, sandbox, line, { ...flags, envs: env })
}
