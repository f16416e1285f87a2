// How everything in this server moves a sandbox: the store's guarded update, then, once it is committed, the order goes to
// the dispatcher and everyone who waits here learns of it.
import type { MoveName } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'
import { move, type Move, type Moving } from '../store/moves.ts'
import type { Store } from '../store/store.ts'

/**
 * `undefined` when the sandbox is not where this move starts from. `also` writes what belongs to the move, in its
 * transaction, and only if it was made.
 */
export async function moveSandbox<M extends MoveName>(
  context: Context,
  name: M,
  request: Move<M>,
  also?: (store: Pick<Store, 'db'>, moving: Moving) => Promise<void>,
): Promise<Moving | undefined> {
  const now = context.clock()
  const { store } = context
  const moving =
    also === undefined
      ? await move(store, name, request, now)
      : await store.db.transaction().execute(async (db) => {
          const made = await move({ db }, name, request, now)
          if (made !== undefined) await also({ db }, made)
          return made
        })
  if (moving !== undefined) announce(context, name, moving)
  return moving
}

/** Tells this process of a committed move. */
export function announce(context: Context, name: MoveName | 'insert', { sandbox, order }: Moving): void {
  const { sandboxID, state, generation } = sandbox
  context.log.debug({ sandboxID, move: name, state, generation, operationID: order?.operationID }, 'moved a sandbox')
  context.moved.tell(sandbox)
  if (order !== undefined) context.dispatch.written(order)
}
