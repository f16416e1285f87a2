// Snapshots: a row for each that a pause has sealed, until its sandbox has ended.
import type { Sandbox } from '../sandboxes/sandbox.ts'
import type { Store } from './store.ts'

export async function recordSnapshot(
  store: Pick<Store, 'db'>,
  sandbox: Sandbox,
  snapshot: { readonly snapshotID: string; readonly workerID: string; readonly bytes: number },
  now: Date,
): Promise<void> {
  await store.db
    .insertInto('snapshots')
    .values({
      snapshot_id: snapshot.snapshotID,
      sandbox_id: sandbox.sandboxID,
      team_id: sandbox.teamID,
      build_id: sandbox.buildID,
      worker_id: snapshot.workerID,
      bytes: snapshot.bytes,
      created_at: now,
    })
    .onConflict((conflict) => conflict.column('snapshot_id').doNothing())
    .execute()
}

/** A sandbox that has ended keeps none: its worker has deleted them. */
export async function forgetSnapshots(store: Pick<Store, 'db'>, sandboxID: string): Promise<void> {
  await store.db.deleteFrom('snapshots').where('sandbox_id', '=', sandboxID).execute()
}
