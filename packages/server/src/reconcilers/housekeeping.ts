// Forgets what has served its time, and makes the months that events are kept by.
import { forgetExpiredKeys } from '../store/idempotency.ts'
import { makeEventPartitions } from '../store/events.ts'
import { forgetSettledOrders } from '../store/orders.ts'
import type { Reconciler } from './loop.ts'

/** Settled orders are kept for a day, for whoever looks into what happened. */
const SETTLED_KEPT_MS = 86_400_000

export const housekeeping: Reconciler = {
  name: 'housekeeping',
  everyMs: 600_000,
  async run({ store, clock }) {
    const now = clock()
    const patiently = { db: store.patient }
    await makeEventPartitions(patiently, now)
    await forgetExpiredKeys(patiently, now)
    await forgetSettledOrders(patiently, new Date(now.getTime() - SETTLED_KEPT_MS))
  },
}
