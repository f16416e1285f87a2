import type { Context } from '../context.ts'
import type { Caller, NewSandbox, Sandbox } from './sandbox.ts'

/**
 * Creates a sandbox and waits until it runs, `limits.createAnswerMs` at most.
 * Refuses: template_not_found, idempotency_mismatch, create_failed, capacity_unavailable, disk_full, unavailable, operation_timeout. A refused create leaves no live sandbox.
 */
export async function createSandbox(context: Context, caller: Caller, wanted: NewSandbox): Promise<Sandbox> {
  throw new Error('follows')
}
