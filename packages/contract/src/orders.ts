// What passes between server and worker. An order repeats a row of the outbox until the worker's answer settles it, so it
// may arrive twice, late, or never: the worker keeps the last operation of each sandbox and answers the same one again.
//
//   server                         worker
//     | order (request) ------------> | writes {generation, operationID} to its roster, fsync; acts
//     | <------------ reply: working  | while it acts, to every repetition
//     | <--------------- reply: done  | the outcome is in the roster before it is answered
//     | <------- report (request)     | for what happened without an order (the VM died), until acknowledged
//     | <------- statement (publish)  | once a second: what this worker is and which sandboxes it holds
//
// An order carries ids, numbers and enumerations only: nothing in it becomes a path, a size or an argument on the host.
import Type, { type Static } from 'typebox'
import { endReasons } from './lifecycle.ts'
import { idPattern } from './ids.ts'
import { limits } from './limits.ts'

const Time = Type.Union([Type.String({ description: 'ISO 8601, UTC' }), Type.Null()])
const ID = (kind: Parameters<typeof idPattern>[0]) => Type.String({ pattern: idPattern(kind) })
const header = {
  sandboxID: ID('sandbox'),
  generation: Type.Integer({ minimum: 1 }),
  operationID: ID('operation'),
}

const CreateOrder = Type.Object({
  ...header,
  verb: Type.Literal('create'),
  args: Type.Object({
    buildID: ID('build'),
    cpuCount: Type.Integer({ minimum: limits.cpuCount.minimum, maximum: limits.cpuCount.maximum }),
    memoryMB: Type.Integer({ minimum: limits.memoryMB.minimum, maximum: limits.memoryMB.maximum }),
    endAt: Time,
    /** The sandbox's environment, sealed with the installation's key (`secrets.ts`); empty when there is none. */
    environment: Type.String({ maxLength: 1_048_576 }),
    templateID: Type.String({ maxLength: 200 }),
  }),
})
const PauseOrder = Type.Object({
  ...header,
  verb: Type.Literal('pause'),
  /** The snapshot that the pause makes: named by the server, so that a repeated order makes the same one. */
  args: Type.Object({ snapshotID: ID('snapshot') }),
})
const ResumeOrder = Type.Object({
  ...header,
  verb: Type.Literal('resume'),
  args: Type.Object({ snapshotID: ID('snapshot'), endAt: Time }),
})
/** Ends the machine and keeps the snapshot that it was resumed from. */
const ReleaseOrder = Type.Object({ ...header, verb: Type.Literal('release'), args: Type.Object({}) })
/** Ends the machine and deletes every snapshot that only this sandbox has. */
const KillOrder = Type.Object({ ...header, verb: Type.Literal('kill'), args: Type.Object({}) })
const DeadlineOrder = Type.Object({
  ...header,
  verb: Type.Literal('deadline'),
  args: Type.Object({ endAt: Time }),
})

export const Order = Type.Union([CreateOrder, PauseOrder, ResumeOrder, ReleaseOrder, KillOrder, DeadlineOrder])
export type Order = Static<typeof Order>
export type OrderArgs<V extends Order['verb']> = Extract<Order, { verb: V }>['args']

/** Why a worker did not do what was ordered. `full`, `stale` and `unknown_*` are judged at the door; the others are failures while acting. */
const failureCodes = [
  'stale',
  'full',
  'disk_full',
  'unknown_build',
  'unknown_sandbox',
  'snapshot_missing',
  'snapshot_damaged',
  'does_not_fit',
  'aborted',
  'engine',
  'guest',
  'ended',
] as const
export type FailureCode = (typeof failureCodes)[number]

export const Outcome = Type.Union([
  Type.Object({
    status: Type.Literal('done'),
    /** Of create and resume: where the edge reaches the guest. IPv4 address of the machine's slot. */
    address: Type.Optional(Type.String({ format: 'ipv4' })),
    machineID: Type.Optional(Type.String()),
    /** Of pause: what the snapshot holds on disk, in bytes. */
    snapshotBytes: Type.Optional(Type.Integer({ minimum: 0 })),
  }),
  Type.Object({
    status: Type.Literal('failed'),
    code: Type.Enum(failureCodes),
    message: Type.String({ maxLength: 2000 }),
  }),
])
export type Outcome = Static<typeof Outcome>

export const OrderReply = Type.Union([Outcome, Type.Object({ status: Type.Literal('working') })])
export type OrderReply = Static<typeof OrderReply>

/** Something settled, or happened without an order. */
export const Report = Type.Object({
  workerID: ID('worker'),
  sandboxID: ID('sandbox'),
  generation: Type.Integer({ minimum: 1 }),
  event: Type.Union([
    /** The outcome of an operation whose requester may no longer listen. */
    Type.Object({ kind: Type.Literal('settled'), operationID: ID('operation'), outcome: Outcome }),
    /** The machine is gone without an order. */
    Type.Object({
      kind: Type.Literal('ended'),
      reason: Type.Enum(endReasons),
      message: Type.String({ maxLength: 2000 }),
    }),
  ]),
})
export type Report = Static<typeof Report>

/** `taken`: the server has it, or no longer cares; the worker need not repeat it. */
export const ReportReply = Type.Object({ taken: Type.Boolean() })
export type ReportReply = Static<typeof ReportReply>

export const WorkerBuild = Type.Object({
  buildID: ID('build'),
  /** Name of a template that comes built, `base` say. */
  name: Type.String({ pattern: '^[a-z0-9-_]+$', maxLength: limits.nameLength }),
  cpuCount: Type.Integer(),
  memoryMB: Type.Integer(),
  diskSizeMB: Type.Integer(),
  envdVersion: Type.String(),
})
export type WorkerBuild = Static<typeof WorkerBuild>

/** What a worker holds of a sandbox, in its roster. */
export const Holding = Type.Object({
  sandboxID: ID('sandbox'),
  generation: Type.Integer({ minimum: 1 }),
  phase: Type.Union([Type.Literal('moving'), Type.Literal('running'), Type.Literal('paused'), Type.Literal('ended')]),
})
export type Holding = Static<typeof Holding>

/** Once a second, and at once after a change that matters: what this worker is, and everything it holds. */
export const Statement = Type.Object({
  workerID: ID('worker'),
  hostname: Type.String({ maxLength: 255 }),
  /** When the roster was read, ISO 8601. */
  at: Type.String(),
  bootID: Type.String({ maxLength: 64 }),
  version: Type.String({ maxLength: 64 }),
  /** What runs the machines, for people: `qemu (tcg)`. */
  engine: Type.String({ maxLength: 64 }),
  memory: Type.Object({ totalMB: Type.Integer(), reservedMB: Type.Integer() }),
  /** What one sandbox reserves beyond its guest's memory. */
  overheadMB: Type.Integer(),
  builds: Type.Array(WorkerBuild),
  holdings: Type.Array(Holding),
})
export type Statement = Static<typeof Statement>
