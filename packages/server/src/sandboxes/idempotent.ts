// A create with an `Idempotency-Key`: the first request makes the sandbox, the others of the same body get it. After a
// create that failed on our side the next one runs anew.
import { limits, Refused } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'
import { findIdempotent, insertIdempotent } from '../store/idempotency.ts'
import { findSandbox } from '../store/sandboxes.ts'
import { finishCreate, prepare, waitUntilCreated } from './create.ts'
import type { Caller, NewSandbox, Sandbox } from './sandbox.ts'

export async function createIdempotent(
  context: Context,
  caller: Caller,
  wanted: NewSandbox,
  { key, bodyHash }: NonNullable<NewSandbox['idempotency']>,
): Promise<Sandbox> {
  const claim = { teamID: caller.teamID, key, bodyHash }
  // Each round that ends here was lost to another request with the key; one that succeeds ends it for all.
  for (;;) {
    const known = await findIdempotent(context.store, claim, context.clock())
    if (known !== undefined && known.bodyHash !== bodyHash)
      throw new Refused('idempotency_mismatch', `Idempotency-Key ${key} was used with another request body`)
    const first = known && (await findSandbox(context.store, caller.teamID, known.sandboxID))
    if (first?.state === 'creating') return waitUntilCreated(context, { sandbox: first })
    if (first !== undefined && first.startedAt !== null) return first

    const sandbox = await prepare(context, caller, wanted)
    const expiresAt = new Date(sandbox.createdAt.getTime() + limits.idempotencyHours * 3_600_000)
    const inserted = await insertIdempotent(
      context.store,
      { ...claim, expiresAt, replacing: known?.sandboxID },
      sandbox,
    )
    if (inserted !== undefined) return finishCreate(context, inserted)
  }
}
