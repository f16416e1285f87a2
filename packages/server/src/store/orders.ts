// The outbox. An order is written by a move (`moves.ts`), sent by whichever server holds its lease (`next_at` in the
// future), and settled once: then its secrets are gone from the row.
import type { Verb } from '@lelantos-ai/contract'
import { type Selectable, sql } from 'kysely'
import type { Store } from './store.ts'
import type { Tables } from './tables.ts'

export interface StoredOrder {
  readonly operationID: string
  readonly sandboxID: string
  readonly generation: number
  readonly workerID: string
  readonly verb: Verb
  readonly args: Readonly<Record<string, unknown>>
  /** How often it has been sent, the present attempt included. */
  readonly attempts: number
}

/** How long one attempt may take, the wait after it included; then any server may send the order again. */
const LEASE_MS = 4500

export const leaseEnd = (now: Date): Date => new Date(now.getTime() + LEASE_MS)

export function orderOf(row: Selectable<Tables['orders']>): StoredOrder {
  return {
    operationID: row.operation_id,
    sandboxID: row.sandbox_id,
    generation: row.generation,
    workerID: row.worker_id,
    verb: row.verb,
    args: row.args,
    attempts: row.attempts,
  }
}

/** Takes orders that nobody is sending. Servers that ask at the same time get different ones. */
export async function claimOrders(store: Store, now: Date, count: number): Promise<StoredOrder[]> {
  const rows = await store.db
    .updateTable('orders')
    .set((row) => ({ attempts: row('attempts', '+', 1), next_at: leaseEnd(now) }))
    .where('operation_id', 'in', (query) =>
      query
        .selectFrom('orders')
        .select('operation_id')
        .where('settled_at', 'is', null)
        .where('next_at', '<=', now)
        .orderBy('next_at')
        .limit(count)
        .forUpdate()
        .skipLocked(),
    )
    .returningAll()
    .execute()
  return rows.map(orderOf)
}

/** Before another attempt: keeps the lease and counts. `undefined` when the order is settled. */
export async function claimAgain(store: Store, operationID: string, now: Date): Promise<StoredOrder | undefined> {
  const row = await store.db
    .updateTable('orders')
    .set((order) => ({ attempts: order('attempts', '+', 1), next_at: leaseEnd(now) }))
    .where('operation_id', '=', operationID)
    .where('settled_at', 'is', null)
    .returningAll()
    .executeTakeFirst()
  return row && orderOf(row)
}

/** Settles an order whose outcome moves nothing. Idempotent. */
export async function settleOrder(store: Store, operationID: string, now: Date): Promise<void> {
  await store.db
    .updateTable('orders')
    .set({ settled_at: now, args: sql`args - 'environment'` })
    .where('operation_id', '=', operationID)
    .where('settled_at', 'is', null)
    .execute()
}

/** The unsettled order of that operation, if this worker was given it. */
export async function findUnsettledOrder(
  store: Store,
  operation: { operationID: string; sandboxID: string; workerID: string },
): Promise<StoredOrder | undefined> {
  const row = await store.db
    .selectFrom('orders')
    .selectAll()
    .where('operation_id', '=', operation.operationID)
    .where('sandbox_id', '=', operation.sandboxID)
    .where('worker_id', '=', operation.workerID)
    .where('settled_at', 'is', null)
    .executeTakeFirst()
  return row && orderOf(row)
}

/** Forgets orders settled before `before`: a report about one is then no longer of interest. */
export async function forgetSettledOrders(store: Pick<Store, 'db'>, before: Date): Promise<void> {
  await store.db.deleteFrom('orders').where('settled_at', '<', before).execute()
}

/**
 * Orders a worker to end what it holds of a sandbox that has ended, at a generation above both sides'. Nothing when an
 * order for it is under way.
 */
export async function orderRemoval(
  store: Store,
  removal: { sandboxID: string; workerID: string; generation: number; operationID: string; now: Date },
): Promise<StoredOrder | undefined> {
  const { rows } = await sql<Selectable<Tables['orders']>>`
    with ended as (
      update sandboxes set generation = greatest(generation, ${removal.generation}::integer) + 1
      where sandbox_id = ${removal.sandboxID} and state in ('killed', 'stopped')
        and not exists (select from orders o where o.sandbox_id = sandboxes.sandbox_id and o.settled_at is null)
      returning sandbox_id, generation)
    insert into orders (operation_id, sandbox_id, generation, worker_id, verb, args, attempts, next_at, created_at)
    select ${removal.operationID}, sandbox_id, generation, ${removal.workerID}, 'kill', '{}'::jsonb, 1,
      ${leaseEnd(removal.now)}::timestamptz, ${removal.now}::timestamptz from ended
    returning *`.execute(store.db)
  return rows[0] && orderOf(rows[0])
}
