import { hasEnded } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'
import { findSandbox } from '../store/sandboxes.ts'
import { notFound } from './refusals.ts'
import type { Caller, Sandbox } from './sandbox.ts'

/** One sandbox of the team; one that has ended only if `terminated` is `include`. Refuses: sandbox_not_found. */
export async function getSandbox(
  context: Context,
  caller: Caller,
  sandboxID: string,
  options: { readonly terminated: 'include' | 'hide' },
): Promise<Sandbox> {
  const sandbox = await findSandbox(context.store, caller.teamID, sandboxID)
  if (sandbox === undefined || (options.terminated === 'hide' && hasEnded(sandbox.state))) throw notFound(sandboxID)
  return sandbox
}
