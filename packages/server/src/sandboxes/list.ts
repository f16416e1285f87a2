import type { PublicState } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'
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
  throw new Error('follows')
}
