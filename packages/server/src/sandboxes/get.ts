import type { Context } from '../context.ts'
import type { Caller, Sandbox } from './sandbox.ts'

/** One sandbox of the team; one that has ended only if `terminated` is `include`. Refuses: sandbox_not_found. */
export async function getSandbox(
  context: Context,
  caller: Caller,
  sandboxID: string,
  options: { readonly terminated: 'include' | 'hide' },
): Promise<Sandbox> {
  throw new Error('follows')
}
