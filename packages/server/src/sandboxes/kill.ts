import type { Context } from '../context.ts'
import type { Caller } from './sandbox.ts'

/** Ends a sandbox, from whatever state. Waits at most `limits.killAnswerMs` for the worker and resolves anyway: the order goes on. Refuses: sandbox_not_found (of one that has ended, too). */
export async function killSandbox(context: Context, caller: Caller, sandboxID: string): Promise<void> {
  throw new Error('follows')
}
