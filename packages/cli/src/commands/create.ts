import type { Context, Outcome } from '../context.ts'
import { print, printJSON, say } from '../output.ts'
import { progress } from '../progress.ts'
import { relative } from '../relative.ts'

export interface CreateFlags {
  readonly timeout?: number
  readonly env?: Record<string, string>
  readonly metadata?: Record<string, string>
}

export async function create({ client, json, signal }: Context, templateID: string, flags: CreateFlags): Outcome {
  const started = performance.now()
  const request = { templateID, timeout: flags.timeout, envVars: flags.env, metadata: flags.metadata }
  const making = client.createSandbox(request, { signal })
  const sandbox = await progress(`creating a sandbox from ${templateID}`, making)
  const seconds = ((performance.now() - started) / 1000).toFixed(2)
  // The token stays out: what is printed ends up in logs, and the SDK has it whenever it is needed.
  const { envdAccessToken: _token, ...details } = await sandbox.getDetails({ signal })
  if (json) return await printJSON({ ...details, url: sandbox.getURL() })
  say(`created from ${details.alias ?? templateID} in ${seconds} s, ends ${relative(details.endAt)}`)
  await print(sandbox.sandboxID)
}
