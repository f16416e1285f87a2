// Placement: which worker gets a sandbox. A hint, made from the workers' last statements: the worker decides admission.
import { Refused } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'
import type { Sandbox } from '../sandboxes/sandbox.ts'
import type { ConnectedWorker, ConnectedWorkers } from './connected.ts'

interface Placed<B> {
  readonly build: B
  readonly worker: { readonly workerID: string; readonly bootID: string }
}

interface Buildable {
  readonly buildID: string
  readonly memoryMB: number
}

/**
 * The connected worker with most free memory that has the build; of several builds the first that any worker has. Refuses:
 * unavailable (no worker is connected, or none has the template yet), capacity_unavailable (none has room).
 */
export function place<B extends Buildable>(workers: ConnectedWorkers, builds: readonly B[], now: Date): Placed<B> {
  const connected = workers.list(now)
  if (connected.length === 0) throw new Refused('unavailable', 'no worker is connected', 2)
  const build = builds.find(({ buildID }) => connected.some((worker) => hasBuild(worker, buildID)))
  if (build === undefined) throw new Refused('unavailable', 'no connected worker has this template yet', 5)
  const worker = placeElsewhere(workers, build, { now, except: [] })
  if (worker === undefined) throw new Refused('capacity_unavailable', 'no worker has room for another sandbox', 5)
  return { build, worker }
}

/** Another worker for a build; `undefined` when there is none with room. */
export function placeElsewhere(
  workers: ConnectedWorkers,
  { buildID, memoryMB }: Buildable,
  options: { readonly now: Date; readonly except: readonly string[] },
): Placed<never>['worker'] | undefined {
  const best = workers
    .list(options.now)
    .filter((worker) => hasBuild(worker, buildID) && !options.except.includes(worker.statement.workerID))
    .filter((worker) => statedFreeMB(worker) >= memoryMB + worker.statement.overheadMB)
    .sort((left, right) => freeMB(right) - freeMB(left))[0]
  if (best === undefined) return undefined
  const { workerID, bootID, overheadMB } = best.statement
  workers.reserve(workerID, memoryMB + overheadMB)
  return { workerID, bootID }
}

/** Refuses with `unavailable` when the worker that holds a sandbox is not connected. */
export function mustBeConnected(context: Context, { sandboxID, workerID }: Sandbox): void {
  if (workerID === null || context.workers.get(workerID, context.clock()) === undefined)
    throw new Refused('unavailable', `the worker of sandbox ${sandboxID} is not connected`, 2)
}

function hasBuild({ statement }: ConnectedWorker, buildID: string): boolean {
  return statement.builds.some((build) => build.buildID === buildID)
}

/** What decides whether to ask a worker at all. What was placed since its statement is left out: it may have failed. */
function statedFreeMB({ statement }: ConnectedWorker): number {
  return statement.memory.totalMB - statement.memory.reservedMB
}

/** What decides between workers. */
function freeMB(worker: ConnectedWorker): number {
  return statedFreeMB(worker) - worker.placedMB
}
