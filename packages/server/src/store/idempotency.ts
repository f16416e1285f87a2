// Keys that make a repeated create get the same sandbox. A key is claimed in the transaction that inserts the sandbox, so
// there is never one without the other.
import type { Store } from './store.ts'
import { type InsertedSandbox, insertSandbox } from './sandboxes.ts'
import type { Moving } from './moves.ts'

export interface IdempotencyKey {
  readonly teamID: string
  readonly key: string
  readonly bodyHash: string
}

export async function findIdempotent(
  store: Store,
  { teamID, key }: IdempotencyKey,
  now: Date,
): Promise<{ bodyHash: string; sandboxID: string } | undefined> {
  const row = await store.db
    .selectFrom('idempotency_keys')
    .select(['body_hash', 'sandbox_id'])
    .where('team_id', '=', teamID)
    .where('key', '=', key)
    .where('expires_at', '>', now)
    .executeTakeFirst()
  return row && { bodyHash: row.body_hash, sandboxID: row.sandbox_id }
}

/**
 * Inserts the sandbox if the key is free, has expired, or still names `replacing` (a create that failed). `undefined` when
 * another request was first.
 */
export async function insertIdempotent(
  store: Store,
  claim: IdempotencyKey & { readonly expiresAt: Date; readonly replacing: string | undefined },
  sandbox: InsertedSandbox,
): Promise<Moving | undefined> {
  const row = { body_hash: claim.bodyHash, sandbox_id: sandbox.sandboxID, expires_at: claim.expiresAt }
  return store.db.transaction().execute(async (transaction) => {
    const claimed = await transaction
      .insertInto('idempotency_keys')
      .values({ team_id: claim.teamID, key: claim.key, ...row })
      .onConflict((conflict) =>
        conflict
          .columns(['team_id', 'key'])
          .doUpdateSet(row)
          .where((known) =>
            known.or([
              known('idempotency_keys.expires_at', '<=', sandbox.createdAt),
              known('idempotency_keys.sandbox_id', '=', claim.replacing ?? ''),
            ]),
          ),
      )
      .returning('sandbox_id')
      .executeTakeFirst()
    return claimed && insertSandbox({ db: transaction }, sandbox)
  })
}

export async function forgetExpiredKeys(store: Pick<Store, 'db'>, now: Date): Promise<void> {
  await store.db.deleteFrom('idempotency_keys').where('expires_at', '<=', now).execute()
}
