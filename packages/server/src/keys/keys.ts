import type { Context } from '../context.ts'
import type { Caller } from '../sandboxes/sandbox.ts'

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

export async function createKey(context: Context, caller: Pick<Caller, 'teamID'>, name: string): Promise<CreatedKey> {
  throw new Error('follows')
}
export async function listKeys(context: Context, caller: Caller): Promise<Key[]> {
  throw new Error('follows')
}
/** Refuses: key_not_found, last_key. */
export async function deleteKey(context: Context, caller: Caller, keyID: string): Promise<void> {
  throw new Error('follows')
}
/** Who a key stands for; `undefined` when it is malformed, unknown or deleted. */
export async function authenticate(context: Context, key: string): Promise<Caller | undefined> {
  throw new Error('follows')
}
