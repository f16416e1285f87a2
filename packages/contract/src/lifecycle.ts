// The lifecycle of a sandbox: one table, from which the store's guarded updates, the refusals, the documents and the
// tests derive.
//
//   (insert) -> creating -> running -> pausing -> paused -> resuming -> running
//                  |           |          |          |          |
//                  +-----------+----------+----------+----------+-> killing -> killed
//                              +-> stopping -> stopped
//
// States in transition (creating, pausing, resuming, killing, stopping) have a deadline and an order under way; a
// reconciler settles what is overdue. `killing` is legal from every state that is not an end.

export const states = [
  'creating',
  'running',
  'pausing',
  'paused',
  'resuming',
  'killing',
  'stopping',
  'killed',
  'stopped',
] as const
export type State = (typeof states)[number]

/** What the outside sees. */
export const publicStates = ['created', 'running', 'paused', 'killed', 'stopped'] as const
export type PublicState = (typeof publicStates)[number]

/** A sandbox being killed or stopped has ended for everyone outside, although its machine may take a moment. */
export const publicState: Record<State, PublicState> = {
  creating: 'created',
  running: 'running',
  pausing: 'running',
  paused: 'paused',
  resuming: 'paused',
  killing: 'killed',
  stopping: 'stopped',
  killed: 'killed',
  stopped: 'stopped',
}

/** Lifecycle events; on the wire `sandbox.lifecycle.<name>`. */
const eventNames = ['created', 'running', 'paused', 'resumed', 'killed', 'stopped', 'error'] as const
export type EventName = (typeof eventNames)[number]

/** Why a sandbox ended. */
export const endReasons = [
  'api',
  'timeout',
  'error',
  'guest_shutdown',
  'guest_reset',
  'vmm_died',
  'host_restart',
  'worker_lost',
] as const
export type EndReason = (typeof endReasons)[number]

/** What a worker can be ordered to do (`orders.ts`). */
export const verbs = ['create', 'pause', 'resume', 'release', 'kill', 'deadline'] as const
export type Verb = (typeof verbs)[number]

interface Move {
  readonly from: readonly State[]
  readonly to: State
  /** Written in the transaction of the move. */
  readonly event?: EventName
  /** The order that leaves with the move, through the outbox. */
  readonly order?: Verb
}

const LIVE = ['creating', 'running', 'pausing', 'paused', 'resuming'] as const satisfies readonly State[]

/**
 * Every legal move. A move is one `UPDATE ... WHERE state IN (from) RETURNING`, with its event and its order in the same
 * transaction; who loses a race learns it from the row count.
 */
export const moves = {
  /** The worker has created it. */
  started: { from: ['creating'], to: 'running', event: 'running' },
  /** The worker was full: the same create goes to the next one, at the next generation. */
  placeElsewhere: { from: ['creating'], to: 'creating', order: 'create' },
  pause: { from: ['running'], to: 'pausing', order: 'pause' },
  paused: { from: ['pausing'], to: 'paused', event: 'paused' },
  /** The pause could not be written (disk full, say); the sandbox runs on. */
  pauseFailed: { from: ['pausing'], to: 'running', event: 'error' },
  resume: { from: ['paused'], to: 'resuming', order: 'resume' },
  resumed: { from: ['resuming'], to: 'running', event: 'resumed' },
  /** The resume failed on the worker, which has put its machine away: the snapshot is as it was. */
  resumeFailed: { from: ['resuming'], to: 'paused', event: 'error' },
  /** The resume is overdue: whatever the worker has of it goes, the snapshot stays. */
  resumeUndone: { from: ['resuming'], to: 'paused', event: 'error', order: 'release' },
  /** A new deadline for a running sandbox: the worker holds it too, for when the bus is away. */
  setDeadline: { from: ['running'], to: 'running', order: 'deadline' },
  /** A new deadline for a paused one takes effect at its resume. */
  setPausedTimeout: { from: ['paused'], to: 'paused' },
  kill: { from: LIVE, to: 'killing', order: 'kill' },
  killed: { from: ['killing'], to: 'killed', event: 'killed' },
  expire: { from: ['running'], to: 'stopping', order: 'kill' },
  stopped: { from: ['stopping'], to: 'stopped', event: 'stopped' },
  /** The worker kept the deadline by itself, because the server was away. */
  expiredAtWorker: { from: ['running', 'pausing'], to: 'stopped', event: 'stopped' },
  /** The machine is gone, or could never be made: nothing is left for a worker to do. */
  fail: { from: ['creating', 'running', 'pausing', 'resuming'], to: 'killed', event: 'error' },
} as const satisfies Record<string, Move>

export type MoveName = keyof typeof moves
export type From<M extends MoveName> = (typeof moves)[M]['from'][number]
export type To<M extends MoveName> = (typeof moves)[M]['to']

/** How long a state in transition may last, in ms, before the reconciler settles it. */
export const transitionDeadlineMs = {
  creating: 90_000,
  pausing: 180_000,
  resuming: 90_000,
  killing: 30_000,
  stopping: 30_000,
} as const satisfies Partial<Record<State, number>>

export type TransitionState = keyof typeof transitionDeadlineMs

/**
 * How an overdue transition is settled: by which move. `undefined` means that the order is only repeated, for as long as
 * it takes: what is killing has ended for everyone outside, and holds capacity until its worker has confirmed.
 */
export const overdueMove: Record<TransitionState, MoveName | undefined> = {
  creating: 'kill',
  pausing: 'kill',
  resuming: 'resumeUndone',
  killing: undefined,
  stopping: undefined,
}

export function isTransition(state: State): state is TransitionState {
  return state in transitionDeadlineMs
}

/** Whether a sandbox in this state has ended for everyone outside. */
export function hasEnded(state: State): boolean {
  return publicState[state] === 'killed' || publicState[state] === 'stopped'
}
