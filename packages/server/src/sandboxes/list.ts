import type { PublicState } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'
import { pageOfSandboxes } from '../store/sandboxes.ts'
import type { Caller, Sandbox } from './sandbox.ts'

/** Where a page ended: the sandbox it ended with. `http/` makes it opaque. */
export interface Cursor {
  readonly createdAt: Date
  readonly sandboxID: string
}

export interface SandboxQuery {
  readonly states: readonly PublicState[]
  /** Those whose metadata has all of these. */
  readonly metadata?: Readonly<Record<string, string>>
  readonly limit: number
  readonly after?: Cursor
  /** By time of creation. */
  readonly order: 'asc' | 'desc'
}

/** A page of the team's sandboxes; `next` is there when more follow. */
export async function listSandboxes(
  context: Context,
  caller: Caller,
  query: SandboxQuery,
): Promise<{ sandboxes: Sandbox[]; next?: Cursor }> {
  const found = await pageOfSandboxes(context.store, { ...query, teamID: caller.teamID, limit: query.limit + 1 })
  const sandboxes = found.slice(0, query.limit)
  const last = sandboxes.at(-1)
  if (found.length <= query.limit || last === undefined) return { sandboxes }
  return { sandboxes, next: { createdAt: last.createdAt, sandboxID: last.sandboxID } }
}
