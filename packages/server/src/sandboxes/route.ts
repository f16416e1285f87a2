import type { State } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'

/** What the edge needs to know of a sandbox. */
export interface SandboxRoute {
  readonly sandboxID: string
  readonly teamID: string
  readonly state: State
  /** IPv4 address of the machine, while it runs. */
  readonly address: string | null
}

/**
 * Where a sandbox is reached; `undefined` when there is none of that id, or none of that team. Answered from memory while
 * that is sure: a move by this process is seen at once, one by another server within a second.
 */
export function routeTo(
  context: Context,
  sandboxID: string,
  teamID?: string,
): Promise<SandboxRoute | undefined> | SandboxRoute | undefined {
  throw new Error('follows')
}

/** Calls `see` with each move that this process makes: the edge cuts the streams of a sandbox that has left `running`. */
export function watchRoutes(context: Context, see: (route: SandboxRoute) => void): Disposable {
  throw new Error('follows')
}
