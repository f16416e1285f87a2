// The network of an installation on its host: the pool of slots, the DNS relay that they share, the firewall around them.
import { INSTALLATION_PATTERN, type Log } from '@lelantos-ai/contract'
import { parseNetwork, relayAddress, SLOTS_MAX } from './addresses.ts'
import { openRelay } from './dns/relay.ts'
import { openFirewall } from './firewall/firewall.ts'
import { SlotPool } from './pool.ts'
import { deleteSlots, existingSlots } from './existing.ts'
import { RELAY_PORT } from './slot-script.ts'
import type { Slots } from './slot.ts'

export interface SlotsOptions {
  /** Six hex digits. */
  readonly installation: string
  /** A /16 of this installation's own, `10.201.0.0/16`: see `chooseSubnet`. */
  readonly subnet: string
  /** Slot n belongs to user and group `uidBase + n`. */
  readonly uidBase: number
  /** How many slots there may be at once. */
  readonly size: number
  /** How many of them to keep prepared. */
  readonly idle: number
  /** Indexes that machines of an earlier run of this worker still use: they are left alone, and wait for `claim`. */
  readonly inUse?: readonly number[]
  /** Users, besides root, that may open connections to guests. */
  readonly clients?: readonly number[]
  /** Where the host's resolvers stand: /etc/resolv.conf unless given. */
  readonly resolvConf?: string
  readonly log: Log
}

export interface OpenSlots extends Slots, AsyncDisposable {
  /** Takes everything of the installation off the host's network; with `keep`, slots in use and the rules they need stay. */
  close(options: { readonly keep: boolean }): Promise<void>
}

/** Brings up firewall and DNS relay, removes what an earlier run has left, and starts to fill the pool. */
export async function openSlots(options: SlotsOptions): Promise<OpenSlots> {
  const { installation, log } = options
  if (!new RegExp(INSTALLATION_PATTERN).test(installation)) {
    throw new Error(`an installation is six hex digits, got ${JSON.stringify(installation)}`)
  }
  if (options.size > SLOTS_MAX) throw new Error(`slots must be at most ${SLOTS_MAX}, got ${options.size}`)
  const subnet = parseNetwork(options.subnet)
  if (subnet.prefixLength !== 16) throw new Error(`the subnet of the slots must be a /16, got ${options.subnet}`)

  // Slots in use do not outlive the host's boot: those that are gone are free.
  const found = await existingSlots(installation)
  const inUse = new Set((options.inUse ?? []).filter((index) => found.includes(index)))
  await deleteSlots(
    installation,
    found.filter((index) => !inUse.has(index)),
  )
  await using undo = new AsyncDisposableStack()
  const address = relayAddress(subnet)
  const firewall = await openFirewall({
    installation,
    subnet: options.subnet,
    relay: address,
    clients: options.clients ?? [],
    log,
  })
  undo.defer(() => firewall.close({ keep: inUse.size > 0 }))
  const relay = await openRelay({
    address,
    port: RELAY_PORT,
    resolvConf: options.resolvConf ?? '/etc/resolv.conf',
    log,
  })
  const pool = new SlotPool({ ...options, subnet, inUse })
  pool.fill()
  undo.move() // from here on it is `close` that takes them down

  const close = async ({ keep }: { readonly keep: boolean }) => {
    await pool.close({ keep })
    await relay[Symbol.asyncDispose]()
    await firewall.close({ keep: keep && pool.used > 0 })
  }
  return {
    acquire: () => pool.acquire(),
    release: (slot) => pool.release(slot),
    claim: (index) => pool.claim(index),
    close,
    [Symbol.asyncDispose]: () => close({ keep: false }),
  }
}
