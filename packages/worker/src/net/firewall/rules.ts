// Rules of an installation on its host. Guests reach the internet, and on this host nothing but the DNS relay: no other
// guest, none of another installation (every slot's interface begins with `lel`), no address of the host, no metadata.
import { RELAY_PORT } from '../slot-script.ts'
import { slotPrefix } from '../addresses.ts'

export interface FirewallRules {
  readonly installation: string
  readonly subnet: string
  readonly relay: string
  /** Users, besides root, that may open connections to guests. */
  readonly clients: readonly number[]
}

export function firewallTable(installation: string): string {
  return `lelantos_${installation}`
}

/** Text for `nft -f`: makes the table anew in one transaction. TCP is refused with a reset, since ICMP errors are limited to one a second. */
export function firewallRules({ installation, subnet, relay, clients }: FirewallRules): string {
  const table = `inet ${firewallTable(installation)}`
  const slots = `"${slotPrefix(installation)}*"`
  return `table ${table}
delete table ${table}
table ${table} {
  chain refused {
    meta l4proto tcp reject with tcp reset
    reject with icmpx admin-prohibited
  }
  chain forward {
    type filter hook forward priority filter
    iifname ${slots} jump from_guest
    oifname ${slots} jump to_guest
  }
  chain from_guest {
    ip saddr != ${subnet} drop
    meta nfproto ipv6 drop
    oifname "lel*" goto refused
    ip daddr { ${subnet}, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/4, 255.255.255.255 } goto refused
    tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu
  }
  chain to_guest {
    ct state established,related accept
    ct state invalid drop
    goto refused
  }
  chain input {
    type filter hook input priority filter
    iifname ${slots} jump from_guest_to_host
  }
  chain from_guest_to_host {
    ct state established,related accept
    ip saddr ${subnet} ip daddr ${relay} meta l4proto { tcp, udp } th dport ${RELAY_PORT} accept
    goto refused
  }
  chain output {
    type filter hook output priority filter
    oifname ${slots} jump from_host
  }
  chain from_host {
    ct state established,related accept
    meta skuid != { ${[0, ...clients].join(', ')} } goto refused
  }
  chain postrouting {
    type nat hook postrouting priority srcnat
    ip saddr ${subnet} oifname != "lel*" masquerade
  }
}
`
}
