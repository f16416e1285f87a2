// A new sandbox from a template's snapshot.
import Type from 'typebox'
import { Compile } from 'typebox/compile'
import { envdAccessToken, limits, newMachineID, type Order, type Outcome, unseal } from '@lelantos-ai/contract'
import { OperationFailed } from '../failure.ts'
import { type Held, type Sandbox, underOrder } from '../sandbox.ts'
import { putAwayMachine } from './end.ts'
import { restoreMachine } from './restore.ts'

type CreateOrder = Extract<Order, { verb: 'create' }>

const environment = Compile(
  Type.Record(
    Type.String({ pattern: limits.environmentNamePattern }),
    Type.String({ maxLength: limits.environmentBytes }),
  ),
)

export async function create(sandbox: Sandbox, order: CreateOrder, signal: AbortSignal): Promise<Outcome> {
  const { node, sandboxID } = sandbox
  const { args } = order
  const template = node.templates.get(args.buildID)
  if (template === undefined) throw new OperationFailed('unknown_build', `this worker has no build ${args.buildID}`)
  const envVars = openEnvironment(node.installationKey, sandboxID, args.environment)
  const machine = { machineID: newMachineID(node.installation), from: template.snapshotID }
  const { snapshotID: _, ended: __, ...fresh } = underOrder(sandbox, order)
  const entry = {
    ...fresh,
    origin: { templateID: args.templateID, buildID: args.buildID, shape: template.shape },
    endAt: args.endAt,
    machine,
  }
  const accessToken = envdAccessToken(node.installationKey, sandboxID)
  const held = await restoreMachine(
    node,
    {
      machineID: machine.machineID,
      snapshotID: template.snapshotID,
      shape: template.shape,
      init: { sandboxID, templateID: args.templateID, accessToken, envVars, hostname: sandboxID },
      recorded: sandbox.record(entry),
    },
    signal,
  )
  return handOver(sandbox, held, entry)
}

/** Records a restored machine as the sandbox's own, or puts it away again. */
export async function handOver(
  sandbox: Sandbox,
  held: Held,
  entry: NonNullable<Sandbox['entry']> & { machine: object },
): Promise<Outcome> {
  const { machineID, slot } = held.place
  const outcome: Outcome = { status: 'done', address: slot.address, machineID }
  try {
    await sandbox.record({
      ...entry,
      phase: 'running',
      operation: { ...entry.operation, outcome },
      machine: { machineID, from: held.from.snapshotID, held: { slotIndex: slot.index, handle: held.machine.handle } },
    })
  } catch (error) {
    await putAwayMachine(held)
    throw error
  }
  sandbox.hold(held)
  return outcome
}

/** The sealed environment, as a map. Throws when the seal is broken, or when it is no map of texts within the limits. */
function openEnvironment(key: Uint8Array, sandboxID: string, sealed: string): Readonly<Record<string, string>> {
  if (sealed === '') return {}
  const text = unseal(key, sandboxID, sealed)
  const value: unknown = JSON.parse(text)
  if (Buffer.byteLength(text) > limits.environmentJSONBytes || !environment.Check(value))
    throw new Error(`the environment of ${sandboxID} is no map of variables within the limits`)
  return value
}
