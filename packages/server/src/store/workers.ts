// Workers as they were last heard of, and what the store thinks they hold.
import type { Statement } from '@lelantos-ai/contract'
import type { Store } from './store.ts'

export async function noteWorker(store: Store, statement: Statement, now: Date): Promise<void> {
  const worker = {
    hostname: statement.hostname,
    boot_id: statement.bootID,
    engine: statement.engine,
    version: statement.version,
    total_mb: statement.memory.totalMB,
    reserved_mb: statement.memory.reservedMB,
    last_seen: now,
  }
  await store.db
    .insertInto('workers')
    .values({ worker_id: statement.workerID, ...worker })
    .onConflict((conflict) => conflict.column('worker_id').doUpdateSet(worker))
    .execute()
}

/** Sandboxes with a machine on workers that nobody has heard of since `before`. */
export async function sandboxesOfSilentWorkers(store: Store, before: Date): Promise<string[]> {
  const rows = await store.db
    .selectFrom('sandboxes')
    .innerJoin('workers', 'workers.worker_id', 'sandboxes.worker_id')
    .select('sandbox_id')
    .where('state', 'in', ['creating', 'running', 'pausing', 'resuming'])
    .where('last_seen', '<', before)
    .execute()
  return rows.map((row) => row.sandbox_id)
}

/** Running sandboxes of a worker that are not among `held` and have been running since before `movedBefore`. */
export async function missingSandboxes(
  store: Store,
  worker: { workerID: string; held: readonly string[]; movedBefore: Date },
): Promise<{ sandboxID: string; bootID: string; generation: number }[]> {
  const rows = await store.db
    .selectFrom('sandboxes')
    .select(['sandbox_id', 'boot_id', 'generation'])
    .where('worker_id', '=', worker.workerID)
    .where('state', '=', 'running')
    .where('moved_at', '<', worker.movedBefore)
    .execute()
  const held = new Set(worker.held)
  return rows
    .filter((row) => !held.has(row.sandbox_id))
    .map((row) => ({ sandboxID: row.sandbox_id, bootID: row.boot_id, generation: row.generation }))
}

/** Which of these have ended, confirmed before `endedBefore`, although somebody still holds them. */
export async function endedSandboxes(
  store: Store,
  sandboxIDs: readonly string[],
  movedBefore: Date,
): Promise<string[]> {
  if (sandboxIDs.length === 0) return []
  const rows = await store.db
    .selectFrom('sandboxes')
    .select('sandbox_id')
    .where('sandbox_id', 'in', sandboxIDs)
    .where('state', 'in', ['killed', 'stopped'])
    .where('moved_at', '<', movedBefore)
    .execute()
  return rows.map((row) => row.sandbox_id)
}
