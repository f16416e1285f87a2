// A move of a sandbox: one guarded UPDATE, with its event, its order and the end of the orders before it in the same
// statement, so all of it is committed or nothing. The types follow the lifecycle table: a move that is not in it, one
// without the order that it sends, or one that ends a sandbox without a reason does not compile.
import {
  type EndReason,
  type From,
  hasEnded,
  isTransition,
  type MoveName,
  moves,
  type OrderArgs,
  type State,
  type To,
  transitionDeadlineMs,
  type Verb,
} from '@lelantos-ai/contract'
import { type RawBuilder, type Selectable, sql, type Updateable } from 'kysely'
import type { Sandbox } from '../sandboxes/sandbox.ts'
import { leaseEnd, orderOf, type StoredOrder } from './orders.ts'
import { sandboxOf } from './sandbox-row.ts'
import type { Store } from './store.ts'
import type { SandboxTable, Tables } from './tables.ts'

type OrderOf<M extends MoveName> = (typeof moves)[M] extends { readonly order: infer V extends Verb } ? V : never
type End = 'killing' | 'stopping' | 'killed' | 'stopped'
/** Moves after which the sandbox has ended, and before which it had not. */
type Ending<M extends MoveName> = To<M> extends End ? (From<M> extends End ? false : true) : false

/** Columns that a move may write beyond those that follow from it. */
type Columns = Pick<
  Updateable<SandboxTable>,
  | 'worker_id'
  | 'boot_id'
  | 'machine_id'
  | 'address'
  | 'snapshot_id'
  | 'started_at'
  | 'end_at'
  | 'timeout_seconds'
  | 'resume_at_start'
  | 'remaining_ms'
> & { failure?: string | null; placements?: string[] }

interface Guards {
  readonly sandboxID: string
  readonly teamID?: string
  readonly generation?: number
  /** Only from machines at least this old: generation of the order that made it. */
  readonly machineGenerationMax?: number
  readonly workerID?: string
  /** Only if its deadline is at or before this. */
  readonly endsBy?: Date
  /** Only if its transition was to end by this. */
  readonly overdueAt?: Date
}

export type Move<M extends MoveName> = Guards & {
  /** A subset of the states that the table allows. */
  readonly from?: readonly From<M>[]
  readonly set?: Columns
  /** Added to the line of an `error` event. */
  readonly why?: string
} & ([OrderOf<M>] extends [never]
    ? { readonly order?: never }
    : { readonly order: { readonly operationID: string; readonly args: OrderArgs<OrderOf<M>> } }) &
  (Ending<M> extends true ? { readonly reason: EndReason } : { readonly reason?: never })

export interface Moving {
  readonly sandbox: Sandbox
  readonly order?: StoredOrder
}

/** Moves a sandbox; `undefined` when it is not where this move starts from, or a guard does not hold. */
export async function move<M extends MoveName>(
  store: Pick<Store, 'db'>,
  name: M,
  request: Move<M>,
  now: Date,
): Promise<Moving | undefined> {
  const rule: { to: State; event?: string; order?: Verb } = moves[name]
  const line = `sandbox.lifecycle.${rule.event}${request.why === undefined ? '' : `: ${request.why}`}`
  const order = request.order as { operationID: string; args: object } | undefined
  // A new timeout for a paused sandbox leaves the order under way (a release) alone; every other move ends what was before it.
  const endsOrders = name !== 'setPausedTimeout'
  const { rows } = await sql<Selectable<SandboxTable> & { written: Selectable<Tables['orders']> | null }>`
    with moved as (
      update sandboxes set ${assignments(name, request, now)} where ${conditions(name, request)} returning *),
    settled as (
      update orders set settled_at = ${now}::timestamptz, args = args - 'environment'
      where ${endsOrders} and settled_at is null and sandbox_id in (select sandbox_id from moved)),
    told as (
      insert into events (sandbox_id, team_id, sequence, at, name, line)
      select sandbox_id, team_id, event_count, ${now}::timestamptz, ${rule.event ?? ''}::text, ${line}::text
      from moved where ${rule.event !== undefined}),
    written as (
      insert into orders (operation_id, sandbox_id, generation, worker_id, verb, args, attempts, next_at, created_at)
      select ${order?.operationID ?? ''}::text, sandbox_id, generation, worker_id, ${rule.order ?? ''}::text,
        ${JSON.stringify(order?.args ?? {})}::jsonb, 1, ${leaseEnd(now)}::timestamptz, ${now}::timestamptz
      from moved where ${order !== undefined} returning *)
    select moved.*, (select to_jsonb(written) from written) as written from moved`.execute(store.db)
  const row = rows[0]
  if (row === undefined) return undefined
  return { sandbox: sandboxOf(row), ...(row.written === null ? {} : { order: orderOf(row.written) }) }
}

function conditions(name: MoveName, request: Guards & { from?: readonly State[] }): RawBuilder<unknown> {
  const from: readonly State[] = request.from ?? moves[name].from
  const all = [sql`sandbox_id = ${request.sandboxID}`, sql`state in (${sql.join(from)})`]
  if (request.teamID !== undefined) all.push(sql`team_id = ${request.teamID}`)
  if (request.generation !== undefined) all.push(sql`generation = ${request.generation}`)
  if (request.machineGenerationMax !== undefined) all.push(sql`machine_generation <= ${request.machineGenerationMax}`)
  if (request.workerID !== undefined) all.push(sql`worker_id = ${request.workerID}`)
  if (request.endsBy !== undefined) all.push(sql`end_at <= ${request.endsBy}`)
  if (request.overdueAt !== undefined) all.push(sql`transition_deadline <= ${request.overdueAt}`)
  return sql.join(all, sql` and `)
}

/** What follows from the table, then what the request adds. */
function assignments(
  name: MoveName,
  request: { readonly set?: Columns; readonly order?: unknown; readonly reason?: EndReason },
  now: Date,
): RawBuilder<unknown> {
  const rule: { from: readonly State[]; to: State; event?: string; order?: Verb } = moves[name]
  const { to } = rule
  const columns: Record<string, unknown> = {
    state: to,
    transition_deadline: isTransition(to) ? new Date(now.getTime() + transitionDeadlineMs[to]) : null,
  }
  const stays = rule.from.includes(to) && !isTransition(to)
  if (!stays) columns['moved_at'] = now
  if (rule.order !== undefined) columns['generation'] = sql`generation + 1`
  if (rule.order === 'create' || rule.order === 'resume') columns['machine_generation'] = sql`generation + 1`
  if (rule.event !== undefined) columns['event_count'] = sql`event_count + 1`
  if (hasEnded(to) || to === 'paused') columns['address'] = null
  if (to === 'paused') columns['machine_id'] = null
  if (to === 'pausing' || to === 'resuming') columns['failure'] = null
  if (request.reason !== undefined) Object.assign(columns, { end_reason: request.reason, ended_at: now })
  if (name !== 'paused' && name !== 'setPausedTimeout')
    Object.assign(columns, { resume_at_start: false, remaining_ms: null })
  Object.assign(columns, request.set)
  return sql.join(Object.entries(columns).map(([column, value]) => sql`${sql.ref(column)} = ${value}`))
}
