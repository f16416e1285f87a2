// What a worker says of itself, once a second and after each change: the server places by it, and compares its own truth.
import { hostname } from 'node:os'
import type { Holding, Statement } from '@lelantos-ai/contract'
import type { WorkerNode } from './node.ts'
import type { RosterEntry } from './roster.ts'

/** An end that the server knows is no holding. */
export function stateOf(
  node: Pick<WorkerNode, 'admission' | 'bootID' | 'clock' | 'engine' | 'templates' | 'workerID'>,
  version: string,
  entries: Iterable<RosterEntry>,
): Statement {
  const holdings: Holding[] = []
  for (const { sandboxID, generation, phase, ended } of entries) {
    if (ended?.reported !== true) holdings.push({ sandboxID, generation, phase })
  }
  return {
    workerID: node.workerID,
    hostname: hostname().slice(0, 255),
    at: new Date(node.clock.now()).toISOString(),
    bootID: node.bootID,
    version,
    engine: node.engine.can.label,
    memory: { totalMB: node.admission.totalMB, reservedMB: node.admission.reservedMB },
    overheadMB: node.engine.can.overheadMB,
    builds: node.templates.builds(),
    holdings,
  }
}
