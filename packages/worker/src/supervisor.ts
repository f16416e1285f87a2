// The supervisor of one sandbox: it alone moves it, one task at a time. A task serves an order, or an end that nobody
// ordered (the machine went, its time is over). A newer order aborts what is under way, waits until that has undone
// itself, and goes on from there; a kill is not aborted by anything.
import { setTimeout as pause } from 'node:timers/promises'
import { limits, type Log, type Order, type OrderReply, type Outcome } from '@lelantos-ai/contract'
import { judge, type Standing } from './door.ts'
import type { Exit } from './engines/engine.ts'
import { failed, failureOf, MachineGone, messageOf, OperationFailed } from './failure.ts'
import type { WorkerNode } from './node.ts'
import type { RosterEntry } from './roster.ts'
import { type Held, insist, type Sandbox, underOrder, withoutMachine } from './sandbox.ts'
import { deadlineSignal } from './until.ts'
import { create } from './verbs/create.ts'
import { deadline, end, kill, reasonOf, release } from './verbs/end.ts'
import { pause as pauseSandbox } from './verbs/pause.ts'
import { resume } from './verbs/resume.ts'

/** A requester waits for this long before it hears `working`: a little less than `limits.busRequestMs`. */
const REPLY_MS = 1500
/** How long an operation may take before it is given up and undone: less than the server's `transitionDeadlineMs`. */
const OPERATION_MS = { create: 75_000, resume: 75_000, pause: 150_000, release: 30_000, deadline: 30_000, kill: 0 }
/** What puts a machine away. */
const FREES: ReadonlySet<Order['verb']> = new Set(['pause', 'release', 'kill'])
/** The server ends a sandbox at its `endAt`; when its order has not come by then, the worker does. */
const DEADLINE_GRACE_MS = 200
/** Timers are set again after at most this long, since the wall clock may be set, and since they end at 24 days. */
const TIMER_MS = 60_000
const CLOCK_MS = 5000
const CLOSE_MS = 10_000

interface Task {
  readonly order: Order | undefined
  readonly controller: AbortController
  readonly reply: PromiseWithResolvers<OrderReply>
  /** Requesters that wait for its outcome. */
  waiting: number
  /** Never rejects. */
  settled: Promise<void>
}

export class Supervisor implements Sandbox {
  readonly sandboxID: string
  readonly node: WorkerNode
  readonly log: Log
  #entry: RosterEntry | undefined
  #held: Held | undefined
  #exit: Exit | undefined
  #task: Task | undefined
  /** Aborts when the worker is being stopped. */
  readonly #stop = new AbortController()
  #deadlineTimer: NodeJS.Timeout | undefined
  #clockTimer: NodeJS.Timeout | undefined

  constructor(node: WorkerNode, sandboxID: string, found?: { entry: RosterEntry; held: Held | undefined }) {
    this.node = node
    this.sandboxID = sandboxID
    this.log = node.log.child({ sandboxID })
    this.#entry = found?.entry
    if (found?.held !== undefined) this.hold(found.held)
    this.#look()
  }

  get entry(): RosterEntry | undefined {
    return this.#entry
  }

  get held(): Held | undefined {
    return this.#held
  }

  /** Whether nothing is under way. */
  get idle(): boolean {
    return this.#task === undefined
  }

  /** Judges an order and acts on it. Resolves with the outcome, or with `working` after 1.5 s. */
  async order(order: Order): Promise<OrderReply> {
    const verdict = judge(order, this.#standing())
    if (verdict.kind === 'replay' || verdict.kind === 'refuse') return verdict.outcome
    if (this.#stop.signal.aborted) return { status: 'working' } // the next worker process takes it up
    const task = verdict.kind === 'act' ? this.#begin(order) : this.#task
    if (task === undefined) throw new Error(`nothing is under way for ${this.sandboxID}`)
    return this.#wait(task)
  }

  /** A move that nobody ordered, after what is under way; repeated until it succeeds. */
  move(work: (sandbox: Sandbox) => Promise<void>): Promise<void> {
    const previous = this.#task
    const task = newTask(undefined)
    this.#task = task
    task.settled = this.#run(task, previous?.settled, async () => {
      await insist(this, this.#stop.signal, 'an end', () => work(this))
      return undefined
    })
    return task.settled
  }

  async record(entry: RosterEntry): Promise<void> {
    await this.node.roster.write(entry)
    this.#entry = entry
    this.node.changed()
  }

  hold(held: Held): void {
    this.#held = held
    this.#exit = undefined
    void held.machine.exited.then((exit) => this.#onExit(held, exit)) // never rejects
    clearInterval(this.#clockTimer)
    this.#clockTimer = setInterval(() => this.#setClock(), limits.clockRefreshMs)
  }

  letGo(): void {
    this.#held = undefined
    clearInterval(this.#clockTimer)
  }

  /** `keep` leaves the machine to the next worker; `end` ends the sandbox. Waits for what is under way, at most 10 s. */
  async close(machines: 'keep' | 'end'): Promise<void> {
    if (machines === 'end' && (this.#held !== undefined || this.#task?.order?.verb === 'create')) {
      this.#task?.controller.abort(new OperationFailed('aborted', 'the worker is being stopped'))
      void this.move((sandbox) => end(sandbox, 'api', 'the worker was told to end its machines')) // never rejects
    }
    const deadline = new AbortController()
    const timeout = pause(CLOSE_MS, undefined, { signal: deadline.signal }).catch(() => {})
    await Promise.race([this.#task?.settled, timeout])
    this.#stop.abort(new OperationFailed('aborted', 'the worker is being stopped'))
    deadline.abort()
    this.#task?.controller.abort(this.#stop.signal.reason)
    clearTimeout(this.#deadlineTimer)
    clearInterval(this.#clockTimer)
  }

  #standing(): Standing | undefined {
    const phase = this.#entry?.phase ?? 'moving'
    const order = this.#task?.order
    if (order !== undefined)
      return { generation: order.generation, operationID: order.operationID, underWay: true, phase }
    if (this.#entry === undefined) return undefined
    const { generation, operation } = this.#entry
    const { operationID, outcome } = operation
    return { generation, operationID, phase, underWay: false, ...(outcome === undefined ? {} : { outcome }) }
  }

  #begin(order: Order): Task {
    const previous = this.#task
    const task = newTask(order)
    this.#task = task
    this.node.reports.forget(this.sandboxID)
    if (previous?.order?.verb !== 'kill')
      previous?.controller.abort(new OperationFailed('aborted', `a ${order.verb} came in between`))
    // What waits for the machine (a save that takes seconds) ends with it.
    if (order.verb === 'kill') void this.#held?.machine.kill().catch(() => {})
    task.settled = this.#run(task, previous?.settled, () => this.#obey(order, task))
    return task
  }

  async #run(task: Task, after: Promise<void> | undefined, work: () => Promise<OrderReply | undefined>): Promise<void> {
    await after
    let reply: OrderReply = { status: 'working' }
    try {
      reply = (this.#superseded(task) ? undefined : await work()) ?? reply
    } catch (err) {
      this.log.error({ err }, 'a task failed in a way it should not')
    }
    if (this.#superseded(task) && reply.status === 'working') reply = failed('aborted', 'a newer order came in between')
    if (task.order !== undefined && FREES.has(task.order.verb) && reply.status === 'done') this.node.freed()
    task.reply.resolve(reply)
    if (this.#superseded(task)) return
    this.#task = undefined
    if (reply.status !== 'working' && task.waiting === 0) this.#reportSettled(task, reply)
    this.node.changed()
    this.#look()
  }

  /** Whether a newer task has come, which goes on from where this one stops. */
  #superseded(task: Task): boolean {
    return this.#task !== task
  }

  async #obey(order: Order, task: Task): Promise<OrderReply | undefined> {
    const start = performance.now()
    const about = { verb: order.verb, operationID: order.operationID, generation: order.generation }
    const elapsed = () => Math.round(performance.now() - start)
    if (order.verb === 'kill') {
      const outcome = await insist(this, this.#stop.signal, 'a kill', () => kill(this, order))
      this.log.info({ ...about, ms: elapsed() }, 'killed')
      return outcome
    }
    using signal = deadlineSignal(OPERATION_MS[order.verb], `the ${order.verb}`, task.controller.signal)
    try {
      const outcome = await this.#act(order, signal)
      this.log.info({ ...about, ms: elapsed() }, `${order.verb} done`)
      return outcome
    } catch (error) {
      const err = signal.aborted && !(error instanceof OperationFailed) ? (signal.reason as unknown) : error
      if (this.#superseded(task) || this.#stop.signal.aborted) {
        this.log.info({ ...about, ms: elapsed(), why: messageOf(err) }, `${order.verb} aborted`)
        return undefined
      }
      this.log.error({ ...about, ms: elapsed(), err }, `${order.verb} failed`)
      const outcome = failureOf(err)
      await this.record(this.#afterFailure(order, outcome))
      return outcome
    }
  }

  #act(order: Exclude<Order, { verb: 'kill' }>, signal: AbortSignal): Promise<Outcome> {
    if (this.#entry?.phase === 'ended' && order.verb !== 'create' && order.verb !== 'release')
      throw new OperationFailed('ended', `the sandbox has ended: there is nothing to ${order.verb}`)
    if (order.verb === 'create' && this.#held !== undefined)
      throw new OperationFailed('stale', 'the sandbox has a machine already')
    if (this.#exit !== undefined && this.#held !== undefined && order.verb !== 'release')
      throw new MachineGone(this.#exit)
    switch (order.verb) {
      case 'create':
        return create(this, order, signal)
      case 'pause':
        return pauseSandbox(this, order, signal)
      case 'resume':
        return resume(this, order, signal)
      case 'release':
        return release(this, order)
      case 'deadline':
        return deadline(this, order)
    }
  }

  /** A failed operation leaves what was there before it: a machine that runs, a snapshot, or nothing. */
  #afterFailure(order: Order, outcome: Outcome): RosterEntry {
    const under = underOrder(this, order)
    const entry = { ...under, operation: { ...under.operation, outcome } }
    if (this.#held !== undefined) return { ...entry, phase: 'running' }
    if (this.#entry?.phase !== 'ended' && entry.snapshotID !== undefined)
      return { ...withoutMachine(entry), phase: 'paused' }
    const message = outcome.status === 'failed' ? outcome.message : ''
    const at = new Date(this.node.clock.now()).toISOString()
    // The outcome tells the server; there is nothing else to report.
    return {
      ...withoutMachine(entry),
      phase: 'ended',
      ended: entry.ended ?? { reason: 'error', message, at, reported: true },
    }
  }

  async #wait(task: Task): Promise<OrderReply> {
    let timer: NodeJS.Timeout | undefined
    const working = new Promise<OrderReply>((resolve) => {
      timer = setTimeout(() => resolve({ status: 'working' }), REPLY_MS)
    })
    task.waiting++
    try {
      return await Promise.race([task.reply.promise, working])
    } finally {
      task.waiting--
      clearTimeout(timer)
    }
  }

  #onExit(held: Held, exit: Exit): void {
    if (this.#held !== held) return
    this.#exit = exit
    if (!held.ending) this.#task?.controller.abort(new MachineGone(exit))
    this.#look()
  }

  /** Between tasks: is there something to do that nobody orders? */
  #look(): void {
    clearTimeout(this.#deadlineTimer)
    if (this.#task !== undefined || this.#stop.signal.aborted || this.#entry === undefined) return
    if (this.#entry.phase === 'ended') return this.#reportEnd()
    const exit = this.#exit
    if (this.#held === undefined) return
    if (exit !== undefined) {
      this.log.warn({ reason: exit.reason, message: exit.message }, 'the machine has ended')
      void this.move((sandbox) => end(sandbox, reasonOf(exit), exit.message)) // never rejects
      return
    }
    if (this.#entry.endAt === null) return
    const leftMs = Date.parse(this.#entry.endAt) + DEADLINE_GRACE_MS - this.node.clock.now()
    if (leftMs > 0) {
      this.#deadlineTimer = setTimeout(() => this.#look(), Math.min(leftMs, TIMER_MS))
      return
    }
    this.log.info({ endAt: this.#entry.endAt }, 'its time is over, and no order has come')
    void this.move((sandbox) => end(sandbox, 'timeout', 'the worker kept the deadline')) // never rejects
  }

  #reportEnd(): void {
    const { entry } = this
    if (entry?.ended === undefined || entry.ended.reported) return
    const { sandboxID, generation } = entry
    const { reason, message } = entry.ended
    const event = { kind: 'ended', reason, message } as const
    this.node.reports.send({ workerID: this.node.workerID, sandboxID, generation, event }, () => this.#endTaken(entry))
  }

  #endTaken(entry: RosterEntry): void {
    if (this.#entry !== entry || entry.ended === undefined || this.#task !== undefined || this.#stop.signal.aborted)
      return
    const reported = { ...entry, ended: { ...entry.ended, reported: true } }
    void this.move((sandbox) => (sandbox.entry === entry ? sandbox.record(reported) : Promise.resolve())) // never rejects
  }

  #reportSettled(task: Task, outcome: Outcome): void {
    if (task.order === undefined) return
    const { sandboxID, generation, operationID } = task.order
    const event = { kind: 'settled', operationID, outcome } as const
    this.node.reports.send({ workerID: this.node.workerID, sandboxID, generation, event })
  }

  #setClock(): void {
    const held = this.#held
    if (held === undefined || held.machine.phase !== 'running' || this.#task !== undefined) return
    this.node.guest
      .setClock(held.place.slot.address, held.from.controlSecret, AbortSignal.timeout(CLOCK_MS))
      .catch((err: unknown) => this.log.warn({ err }, 'the clock of the guest could not be set'))
  }
}

function newTask(order: Order | undefined): Task {
  return {
    order,
    controller: new AbortController(),
    reply: Promise.withResolvers<OrderReply>(),
    waiting: 0,
    settled: Promise.resolve(),
  }
}
