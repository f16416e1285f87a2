// A slot is made by one shell that starts four programs: a netns with the tap that a VMM opens, a veth pair to the host,
// and in the netns the rules that make every port of the slot's address the guest's.
//
//   host  lel<installation>s<n> 10.x.y.z  --veth--  eth0 10.x.y.z+1  [netns]  tap0 169.254.0.22  --  169.254.0.21 guest
//
// Everything in the text comes from an index, an installation's six hex digits and the contract's constants.
import { guestNetwork, ports } from '@lelantos-ai/contract'
import type { SlotLayout } from './addresses.ts'

export const TAP = 'tap0'

/** Where the relay of an installation listens. Not 53: a resolver of the host's own may hold that port on every address. */
export const RELAY_PORT = 10_053

export interface SlotScript {
  readonly layout: SlotLayout
  /** Owner of the tap. */
  readonly uid: number
  readonly relay: string
}

export function createSlotScript(slot: SlotScript): string {
  const { name, hostAddress } = slot.layout
  // Without an IPv6 address on the host's end nothing of the host listens to IPv6 of a guest.
  return `set -e
ip -batch - <<END
netns add ${name}
link add ${name} type veth peer name eth0 netns ${name}
link set ${name} addrgenmode none
addr add ${hostAddress}/30 dev ${name}
link set ${name} up
END
exec ip netns exec ${name} sh -e <<'SCRIPT'
echo 1 >/proc/sys/net/ipv4/ip_forward
[ ! -d /proc/sys/net/ipv6 ] || echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
ip -batch - <<END
${interfacesInside(slot)}
END
exec nft -f - <<END
${rulesInside(slot)}
END
SCRIPT
`
}

// The tap's address and that of the guest never change, and neighbour entries are permanent: what a snapshot remembers of
// its neighbours holds in every slot.
function interfacesInside({ layout, uid }: SlotScript): string {
  return `link set lo up
addr add ${layout.slotAddress}/30 dev eth0
link set eth0 up
route add default via ${layout.hostAddress}
tuntap add ${TAP} mode tap user ${uid} group ${uid}
link set ${TAP} address ${guestNetwork.gatewayMAC}
addr add ${guestNetwork.gateway}/${guestNetwork.prefixLength} dev ${TAP}
link set ${TAP} up
neigh replace ${guestNetwork.guestAddress} lladdr ${guestNetwork.guestMAC} dev ${TAP} nud permanent`
}

// Only the host opens connections to the guest, and only with a SYN: a packet of a connection that the slot's last guest
// had is refused before this one sees it.
function rulesInside({ layout, relay }: SlotScript): string {
  const { guestAddress, gateway } = guestNetwork
  return `table ip slot {
  chain prerouting {
    type nat hook prerouting priority dstnat
    iifname eth0 ip saddr ${layout.hostAddress} ip daddr ${layout.slotAddress} dnat to ${guestAddress}
    iifname ${TAP} ip daddr ${gateway} meta l4proto { tcp, udp } th dport ${ports.dns} dnat to ${relay}:${RELAY_PORT}
  }
  chain postrouting {
    type nat hook postrouting priority srcnat
    oifname eth0 masquerade
  }
  chain forward {
    type filter hook forward priority filter; policy drop
    ct state established,related accept
    ct state invalid drop
    iifname eth0 oifname ${TAP} tcp flags & (fin | syn | rst | ack) != syn reject with tcp reset
    iifname eth0 oifname ${TAP} ct status dnat accept
    iifname ${TAP} oifname eth0 ip saddr ${guestAddress} accept
  }
  chain input {
    type filter hook input priority filter; policy drop
    ct state established,related accept
    icmp type echo-request accept
    iifname lo accept
    iifname ${TAP} reject with icmp admin-prohibited
  }
}`
}
