import type { Context } from '../context.ts'
import type { Caller, Sandbox } from './sandbox.ts'

/** Resumes a sandbox that is paused, or extends the timeout of one that runs (never shortens it). Refuses as `resumeSandbox` does. */
export async function connectSandbox(
  context: Context,
  caller: Caller,
  sandboxID: string,
  options: { readonly timeoutSeconds?: number } = {},
): Promise<{ sandbox: Sandbox; resumed: boolean }> {
  throw new Error('follows')
}
