// Passage through firewalls that were on the host before. Each table's chain has its own say, so an accept of ours does not
// overrule a drop of Docker's, ufw's or firewalld's: rules that accept the slots' traffic go into their chains, marked with
// the installation's name. What guests may not do is rejected by the installation's own table all the same.
import type { Log } from '@lelantos-ai/contract'
import { slotPrefix } from '../addresses.ts'
import * as iptables from './iptables.ts'
import * as nftables from './nftables.ts'
import type { Owner } from './passages.ts'

/** Puts in what is missing. Idempotent. A firewall that refuses is logged: guests then lack what it drops. */
export async function openPassage(installation: string, log: Log): Promise<void> {
  const owner = ownerOf(installation)
  for (const firewall of [iptables, nftables]) {
    try {
      const added = await firewall.open(owner)
      if (added.length > 0)
        log.info({ chains: added }, 'slots pass the firewall of others by rules added to its chains')
    } catch (err) {
      log.warn({ err }, 'a firewall on this host cannot be opened for slots: guests may lack internet and DNS')
    }
  }
}

/** Takes the rules out again. Idempotent. */
export async function closePassage(installation: string): Promise<void> {
  for (const firewall of [iptables, nftables]) await firewall.close(ownerOf(installation))
}

function ownerOf(installation: string): Owner {
  return { interfacePrefix: slotPrefix(installation), mark: `lelantos_${installation}` }
}
