// Templates that come built: workers make them, and say so in their statements.
import type { WorkerBuild } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'
import { recordBuiltIn } from '../store/templates.ts'

/** Writes down builds that a worker has. Idempotent; a build that is new to the store becomes its template's newest. */
export async function upsertBuiltIn(context: Context, builds: readonly WorkerBuild[]): Promise<void> {
  for (const build of builds) await recordBuiltIn(context.store, build, context.clock())
}
