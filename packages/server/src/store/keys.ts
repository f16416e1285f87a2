// API keys, of which only hashes are stored, and the teams they act for.
import type { Selectable } from 'kysely'
import type { Store } from './store.ts'
import type { Tables } from './tables.ts'

export interface StoredKey {
  readonly keyID: string
  readonly teamID: string
  readonly name: string
  readonly mask: string
  readonly createdAt: Date
  readonly lastUsedAt: Date | null
}

/** The team of that name, made if there is none. Servers that start together agree on one. */
export async function teamNamed(store: Store, team: { teamID: string; name: string }, now: Date): Promise<string> {
  await store.db
    .insertInto('teams')
    .values({ team_id: team.teamID, name: team.name, created_at: now })
    .onConflict((conflict) => conflict.column('name').doNothing())
    .execute()
  const row = await store.db
    .selectFrom('teams')
    .select('team_id')
    .where('name', '=', team.name)
    .executeTakeFirstOrThrow()
  return row.team_id
}

export async function insertKey(store: Store, key: StoredKey & { hash: string }): Promise<void> {
  await store.db
    .insertInto('api_keys')
    .values({
      key_id: key.keyID,
      team_id: key.teamID,
      name: key.name,
      hash: key.hash,
      mask: key.mask,
      created_at: key.createdAt,
      last_used_at: key.lastUsedAt,
    })
    .execute()
}

export async function keysOfTeam(store: Store, teamID: string): Promise<StoredKey[]> {
  const rows = await store.db
    .selectFrom('api_keys')
    .selectAll()
    .where('team_id', '=', teamID)
    .orderBy('created_at')
    .orderBy('key_id')
    .execute()
  return rows.map(keyOf)
}

export async function findKeyByHash(store: Store, hash: string): Promise<StoredKey | undefined> {
  const row = await store.db.selectFrom('api_keys').selectAll().where('hash', '=', hash).executeTakeFirst()
  return row && keyOf(row)
}

/** False when the team has no key of that id. */
export async function removeKey(store: Store, teamID: string, keyID: string): Promise<boolean> {
  const { numDeletedRows } = await store.db
    .deleteFrom('api_keys')
    .where('team_id', '=', teamID)
    .where('key_id', '=', keyID)
    .executeTakeFirstOrThrow()
  return numDeletedRows > 0n
}

export async function noteKeyUse(store: Store, keyID: string, now: Date): Promise<void> {
  await store.db.updateTable('api_keys').set({ last_used_at: now }).where('key_id', '=', keyID).execute()
}

function keyOf(row: Selectable<Tables['api_keys']>): StoredKey {
  return {
    keyID: row.key_id,
    teamID: row.team_id,
    name: row.name,
    mask: row.mask,
    createdAt: row.created_at,
    lastUsedAt: row.last_used_at,
  }
}
