// What every verb and reconciler gets: the ports of this server, and what this process remembers and can do without.
import type { Bus, Log } from '@lelantos-ai/contract'
import { KeyCache } from './keys/cache.ts'
import { DispatchSignal } from './reconcilers/signal.ts'
import { Moved } from './sandboxes/moved.ts'
import { RouteCache } from './sandboxes/route-cache.ts'
import { routeOf } from './sandboxes/route.ts'
import type { Store } from './store/store.ts'
import { ConnectedWorkers } from './workers/connected.ts'

export interface Ports {
  /** The only durable truth. */
  readonly store: Store
  readonly bus: Bus
  readonly log: Log
  readonly clock: () => Date
  /** Six hex digits: part of every subject. */
  readonly installation: string
  readonly installationKey: Uint8Array
  /** Sandboxes answer at `{port}-{id}.{domain}`. */
  readonly domain: string
}

export interface Context extends Ports {
  /** Tells this process of every move it makes: waiters, routes and streams listen. */
  readonly moved: Moved
  /** The workers that this process has heard of lately. */
  readonly workers: ConnectedWorkers
  readonly keys: KeyCache
  readonly routes: RouteCache
  /** Wakes the dispatcher, and tells those who wait when an order cannot be delivered. */
  readonly dispatch: DispatchSignal
}

/** A context for one server process. Nothing runs yet: `startControlPlane` does that. */
export function openContext(ports: Ports): Context {
  const moved = new Moved()
  const routes = new RouteCache()
  moved.watch((sandbox) => routes.tell(routeOf(sandbox), performance.now()))
  return {
    ...ports,
    moved,
    routes,
    workers: new ConnectedWorkers(),
    keys: new KeyCache(),
    dispatch: new DispatchSignal(),
  }
}
