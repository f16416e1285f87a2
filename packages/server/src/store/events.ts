// Lifecycle events: written by moves, read as a sandbox's log, kept by month.
import { sql } from 'kysely'
import type { Store } from './store.ts'

/** Of PostgreSQL's integer, which refuses a greater one. */
const SEQUENCE_MAX = 2_147_483_647

export async function pageOfEvents(
  store: Store,
  page: { teamID: string; sandboxID: string; start: number; limit: number },
): Promise<{ at: Date; line: string }[]> {
  return store.db
    .selectFrom('events')
    .select(['at', 'line'])
    .where('sandbox_id', '=', page.sandboxID)
    .where('team_id', '=', page.teamID)
    .where('sequence', '>', Math.min(page.start, SEQUENCE_MAX)) // counts from 1, an offset from 0
    .orderBy('sequence')
    .limit(page.limit)
    .execute()
}

/** Makes the partitions of this month and the next. Servers that do it at the same time take turns. */
export async function makeEventPartitions(store: Pick<Store, 'db'>, now: Date): Promise<void> {
  for (const ahead of [0, 1]) {
    const from = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + ahead, 1))
    const to = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + ahead + 1, 1))
    const name = `events_${from.toISOString().slice(0, 7).replace('-', '_')}`
    await store.db.transaction().execute(async (transaction) => {
      await sql`select pg_advisory_xact_lock(hashtext('event partitions'))`.execute(transaction)
      await sql`create table if not exists ${sql.table(name)} partition of events
        for values from (${sql.lit(from.toISOString())}) to (${sql.lit(to.toISOString())})`.execute(transaction)
    })
  }
}
