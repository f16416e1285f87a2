// The verbs that move a sandbox: pause, resume, kill, timeout.
import type { Context, Outcome } from '../context.ts'
import { describe, exitCodeOf, exitCodes } from '../exit.ts'
import { usage } from '../options.ts'
import { print, printJSON, say } from '../output.ts'
import { listAll, LIVE, pick } from '../pick.ts'
import { progress } from '../progress.ts'
import { duration } from '../relative.ts'

export async function pause(context: Context, id: string): Outcome {
  const sandboxID = await pick(context, id)
  await progress(`pausing ${sandboxID}`, context.client.pauseSandbox(sandboxID, { signal: context.signal }))
  await done(context, sandboxID, { state: 'paused' }, 'paused')
}

export async function resume(context: Context, id: string, { timeout }: { readonly timeout?: number }): Outcome {
  const sandboxID = await pick(context, id)
  const { client, signal } = context
  await progress(`resuming ${sandboxID}`, client.resumeSandbox(sandboxID, { timeout, signal }))
  await done(context, sandboxID, { state: 'running' }, 'resumed')
}

export async function timeout(context: Context, id: string, seconds: number): Outcome {
  const sandboxID = await pick(context, id)
  await context.client.setSandboxTimeout(sandboxID, seconds, { signal: context.signal })
  await done(context, sandboxID, { timeout: seconds }, seconds === 0 ? 'never expires' : `ends in ${duration(seconds)}`)
}

/** Every one is tried; the exit code is that of the first that failed. */
export async function kill(context: Context, ids: readonly string[], { all }: { readonly all?: boolean }): Outcome {
  if (all === ids.length > 0) throw usage('kill takes ids or --all, not both and not neither')
  if (!all && ids.length === 0) throw usage('kill takes at least one id, or --all')
  const picked = all
    ? (await listAll(context, LIVE)).map(({ sandboxID }) => sandboxID)
    : await Promise.all(ids.map(async (id) => await pick(context, id)))
  const killing = Promise.allSettled(
    picked.map(async (sandboxID) => await context.client.killSandbox(sandboxID, { signal: context.signal })),
  )
  const outcomes = await progress(`killing ${picked.length === 1 ? picked[0] : `${picked.length} sandboxes`}`, killing)
  let exitCode: number = exitCodes.ok
  const report = outcomes.map((outcome, n) => {
    const sandboxID = picked[n] ?? ''
    if (outcome.status === 'fulfilled') return { sandboxID, killed: true }
    say(describe(outcome.reason, false))
    if (exitCode === exitCodes.ok) exitCode = exitCodeOf(outcome.reason)
    return { sandboxID, killed: false, error: (outcome.reason as Error).message }
  })
  const killed = report.filter((one) => one.killed)
  if (context.json) await printJSON(report)
  else for (const { sandboxID } of killed) await print(sandboxID)
  if (!context.json) say(`killed ${killed.length} of ${picked.length}`)
  return exitCode
}

async function done(context: Context, sandboxID: string, fields: object, words: string): Promise<void> {
  if (context.json) return await printJSON({ sandboxID, ...fields })
  say(words)
  await print(sandboxID)
}
