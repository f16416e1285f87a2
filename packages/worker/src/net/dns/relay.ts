// One DNS relay for all slots of a worker. Guests ask 169.254.0.22; their slot sends that here, and the relay passes it
// to the host's resolvers unread, over UDP or TCP as the guest asked. What is in flight is bounded, per guest and in all,
// so that a guest that floods it takes the name server from itself only.
import type { Log } from '@lelantos-ai/contract'
import { Resolvers } from './resolvers.ts'
import { openTCPRelay } from './tcp.ts'
import { openUDPRelay } from './udp.ts'

export interface RelayOptions {
  readonly address: string
  readonly port: number
  readonly resolvConf: string
  /** Port of the resolvers, 53 unless given. */
  readonly resolverPort?: number
  readonly log: Log
}

/** Listens when it resolves. Disposal cuts what is in flight. */
export async function openRelay(options: RelayOptions): Promise<AsyncDisposable> {
  const resolvers = new Resolvers(options.resolvConf, options.address)
  const upstream = { resolvers, port: options.resolverPort ?? 53 }
  await using undo = new AsyncDisposableStack()
  undo.use(await openUDPRelay(options, upstream))
  undo.use(await openTCPRelay(options, upstream))
  return undo.move()
}
