// API keys: `lel_` and 40 hex digits, of which the store has only a hash. The same digits behind `e2b_` are the same key.
import { randomBytes } from 'node:crypto'
import { API_KEY_PATTERN, hashAPIKey, newID, Refused } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'
import type { Caller } from '../sandboxes/sandbox.ts'
import { findKeyByHash, insertKey, keysOfTeam, noteKeyUse, removeKey, teamNamed } from '../store/keys.ts'

export interface Key {
  readonly keyID: string
  readonly name: string
  /** Its ends: enough to recognise it. */
  readonly mask: string
  readonly createdAt: Date
  readonly lastUsedAt: Date | null
}
/** `key` is nowhere stored: it is shown once. */
export type CreatedKey = Key & { readonly key: string }

const pattern = new RegExp(API_KEY_PATTERN)

export async function createKey(context: Context, caller: Pick<Caller, 'teamID'>, name: string): Promise<CreatedKey> {
  const key = `lel_${randomBytes(20).toString('hex')}`
  const created = {
    keyID: newID('key'),
    name,
    mask: `${key.slice(0, 8)}...${key.slice(-4)}`,
    createdAt: context.clock(),
    lastUsedAt: null,
  }
  await insertKey(context.store, { ...created, teamID: caller.teamID, hash: hashAPIKey(key) })
  return { ...created, key }
}

/** Oldest first. */
export async function listKeys(context: Context, caller: Caller): Promise<Key[]> {
  const keys = await keysOfTeam(context.store, caller.teamID)
  return keys.map(({ keyID, name, mask, createdAt, lastUsedAt }) => ({ keyID, name, mask, createdAt, lastUsedAt }))
}

/** Deletes a key of the team; it stops working at once. Refuses: key_not_found, last_key (it is the one that asks). */
export async function deleteKey(context: Context, caller: Caller, keyID: string): Promise<void> {
  if (keyID === caller.keyID) throw new Refused('last_key', `key ${keyID} makes this request and cannot delete itself`)
  const removed = await removeKey(context.store, caller.teamID, keyID)
  context.keys.drop(keyID)
  if (!removed) throw new Refused('key_not_found', `key ${keyID} was not found`)
}

/** Who a key stands for; `undefined` when it is malformed, unknown or deleted. */
export async function authenticate(context: Context, key: string): Promise<Caller | undefined> {
  if (!pattern.test(key)) return undefined
  const hash = hashAPIKey(key)
  const now = context.clock()
  const cached = context.keys.get(hash, now.getTime())
  if (cached !== undefined) return cached
  const asked = context.keys.deletions
  const found = await findKeyByHash(context.store, hash)
  if (found === undefined) return undefined
  const caller = { teamID: found.teamID, keyID: found.keyID }
  // A deletion that was made while the store was asked must not be hidden by its older answer.
  if (context.keys.deletions === asked) context.keys.set(hash, caller, now.getTime())
  if (context.keys.shouldNoteUse(found.keyID, now.getTime()))
    noteKeyUse(context.store, found.keyID, now).catch((err: unknown) =>
      context.log.warn({ err, keyID: found.keyID }, 'the use of a key could not be noted'),
    )
  return caller
}

const FIRST_TEAM = 'default'

/**
 * A key of the installation's first team, which is made if there is none: `known` if it is valid, else a new one. For the
 * machine's own CLI.
 */
export async function firstKey(context: Context, known: string | undefined): Promise<string> {
  if (known !== undefined && (await authenticate(context, known)) !== undefined) return known
  const teamID = await teamNamed(context.store, { teamID: newID('team'), name: FIRST_TEAM }, context.clock())
  return (await createKey(context, { teamID }, 'local')).key
}
