// Create: find the template, choose a worker, write sandbox, event and order in one statement, wait until it runs.
import { limits, newID, Refused, seal } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'
import { isStoreAway } from '../store/away.ts'
import { insertSandbox, type InsertedSandbox, readSandbox } from '../store/sandboxes.ts'
import { findTemplateBuilds } from '../store/templates.ts'
import type { Moving } from '../store/moves.ts'
import { place } from '../workers/place.ts'
import { abandonCreate } from './abandon.ts'
import { createIdempotent } from './idempotent.ts'
import { endAfter } from './deadline.ts'
import { announce, moveSandbox } from './move.ts'
import type { Caller, NewSandbox, Sandbox } from './sandbox.ts'
import { waitUntilSettled } from './wait.ts'

/**
 * Creates a sandbox and waits until it runs, `limits.createAnswerMs` at most.
 * Refuses: template_not_found, idempotency_mismatch, create_failed, capacity_unavailable, disk_full, unavailable,
 * operation_timeout. A refused create leaves no live sandbox.
 */
export async function createSandbox(context: Context, caller: Caller, wanted: NewSandbox): Promise<Sandbox> {
  if (wanted.idempotency !== undefined) return createIdempotent(context, caller, wanted, wanted.idempotency)
  const sandbox = await prepare(context, caller, wanted)
  try {
    return await finishCreate(context, await insertSandbox(context.store, sandbox))
  } catch (error) {
    if (isStoreAway(error)) void abandonCreate(context, sandbox.sandboxID) // never rejects
    throw error
  }
}

/** Everything of a new sandbox, before it is written. */
export async function prepare(context: Context, caller: Caller, wanted: NewSandbox): Promise<InsertedSandbox> {
  const template = await findTemplateBuilds(context.store, caller.teamID, wanted.template)
  if (template === undefined) throw new Refused('template_not_found', `template ${wanted.template} was not found`)
  const now = context.clock()
  const { build, worker } = place(context.workers, template.builds, now)
  const sandboxID = newID('sandbox')
  const endAt = endAfter(now, wanted.timeoutSeconds)
  const args = {
    buildID: build.buildID,
    cpuCount: build.cpuCount,
    memoryMB: build.memoryMB,
    endAt: endAt?.toISOString() ?? null,
    environment:
      Object.keys(wanted.envVars).length === 0
        ? ''
        : seal(context.installationKey, sandboxID, JSON.stringify(wanted.envVars)),
    templateID: template.templateID,
  }
  return {
    sandboxID,
    teamID: caller.teamID,
    template,
    build,
    worker,
    createdAt: now,
    timeoutSeconds: wanted.timeoutSeconds,
    endAt,
    metadata: wanted.metadata,
    order: { operationID: newID('operation'), args },
  }
}

/** Sends what was inserted, and waits for it. */
export async function finishCreate(context: Context, inserted: Moving): Promise<Sandbox> {
  const waiting = waitUntilCreated(context, inserted)
  announce(context, 'insert', inserted)
  return waiting
}

/** Waits for a create under way, this request's own or one that it repeats. */
export async function waitUntilCreated(context: Context, creating: Moving): Promise<Sandbox> {
  const { sandboxID } = creating.sandbox
  const settled = await waitUntilSettled(context, creating, { timeoutMs: limits.createAnswerMs, delivery: 'needed' })
  if (typeof settled === 'object') {
    if (settled.startedAt !== null) return settled
    throw refusalOfCreate(settled)
  }
  // Its caller does not know its id: what comes of it later would be nobody's.
  const killing = await moveSandbox(context, 'kill', {
    sandboxID,
    from: ['creating'],
    reason: 'error',
    order: { operationID: newID('operation'), args: {} },
    set: { failure: JSON.stringify({ code: settled, message: 'it was not created in time' }) },
  })
  if (killing === undefined) {
    const now = await readSandbox(context.store, sandboxID)
    if (now !== undefined && now.startedAt !== null) return now // it was settled in this very moment
  }
  if (settled === 'undelivered') throw new Refused('unavailable', 'the worker cannot be reached', 1)
  throw new Refused('operation_timeout', `sandbox ${sandboxID} was not created in ${limits.createAnswerMs} ms`)
}

/** Why a create failed, as its caller is told. */
function refusalOfCreate({ sandboxID, failure, endReason }: Sandbox): Refused {
  switch (failure?.code) {
    case 'full':
      return new Refused('capacity_unavailable', 'no worker has room for another sandbox', 5)
    case 'disk_full':
      return new Refused('disk_full', 'the VM volume is below its reserve', 30)
    case 'undelivered':
      return new Refused('unavailable', 'the worker cannot be reached', 1)
    case undefined:
      return new Refused('create_failed', `sandbox ${sandboxID} was ended while it was created (${endReason})`)
    default:
      return new Refused('create_failed', `sandbox ${sandboxID} could not be created: ${failure?.message}`)
  }
}
