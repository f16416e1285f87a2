// Routes, for the edge: asked for with every request to a sandbox, so answered from memory while that is sure.
import type { State } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'
import { readSandbox } from '../store/sandboxes.ts'
import type { Sandbox } from './sandbox.ts'

/** What the edge needs to know of a sandbox. */
export interface SandboxRoute {
  readonly sandboxID: string
  readonly teamID: string
  readonly state: State
  /** IPv4 address of the machine, while it runs. */
  readonly address: string | null
}

export function routeOf({ sandboxID, teamID, state, address }: Sandbox): SandboxRoute {
  return { sandboxID, teamID, state, address }
}

/**
 * Where a sandbox is reached; `undefined` when there is none of that id, or none of that team. A move by this process is
 * seen at once, one by another server within a second. Answers without a promise when it is in memory.
 */
export function routeTo(
  context: Context,
  sandboxID: string,
  teamID?: string,
): Promise<SandboxRoute | undefined> | SandboxRoute | undefined {
  const known = context.routes.get(sandboxID, performance.now())
  return known === undefined ? read(context, sandboxID, teamID) : ofTeam(known.route, teamID)
}

async function read(context: Context, sandboxID: string, teamID?: string): Promise<SandboxRoute | undefined> {
  const asked = context.routes.ask(sandboxID)
  const sandbox = await readSandbox(context.store, sandboxID)
  const route = sandbox && routeOf(sandbox)
  // A move that was told while the store was asked is newer than what the store said.
  return ofTeam(context.routes.answer(sandboxID, asked, route, performance.now()), teamID)
}

function ofTeam(route: SandboxRoute | undefined, teamID: string | undefined): SandboxRoute | undefined {
  return teamID === undefined || route?.teamID === teamID ? route : undefined
}

/** Calls `see` with each move that this process makes: the edge cuts the streams of a sandbox that has left `running`. */
export function watchRoutes(context: Context, see: (route: SandboxRoute) => void): Disposable {
  return context.moved.watch((sandbox) => see(routeOf(sandbox)))
}
