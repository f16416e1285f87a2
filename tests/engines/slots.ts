// The least that a machine needs of a network, for the engine suite alone: a netns with the tap, and a veth by which the
// host's side of the test reaches the guest. Addresses are of 198.18.0.0/15, which is set aside for tests (RFC 2544).
import { guestNetwork } from '@lelantos-ai/contract'
import { command } from '../../packages/worker/src/host/command.ts'
import type { Slot } from '../../packages/worker/src/net/slot.ts'

const deadlineMs = 30_000
const prefix = `le${process.pid}`

export interface TestSlot extends Slot, AsyncDisposable {}

export async function testSlot(index: number, uid: number): Promise<TestSlot> {
  const netns = `${prefix}n${index}`
  const host = `${prefix}v${index}`
  const ours = `198.18.${process.pid % 256}.${index * 4 + 1}`
  const theirs = `198.18.${process.pid % 256}.${index * 4 + 2}`
  await command('ip', ['-batch', '-'], {
    deadlineMs,
    input: `netns add ${netns}
link add ${host} type veth peer name eth0 netns ${netns}
addr add ${ours}/30 dev ${host}
link set ${host} up
`,
  })
  const { guestAddress, guestMAC, gateway, gatewayMAC, prefixLength } = guestNetwork
  const script = `set -e
echo 1 > /proc/sys/net/ipv4/ip_forward
ip -batch - <<END
link set lo up
addr add ${theirs}/30 dev eth0
link set eth0 up
tuntap add tap0 mode tap user ${uid} group ${uid}
link set tap0 address ${gatewayMAC}
addr add ${gateway}/${prefixLength} dev tap0
link set tap0 up
neigh replace ${guestAddress} lladdr ${guestMAC} dev tap0 nud permanent
END
nft -f - <<END
table ip nat {
 chain pre { type nat hook prerouting priority -100; iifname eth0 dnat to ${guestAddress}; }
 chain post { type nat hook postrouting priority 100; oifname tap0 masquerade; }
}
END
`
  await command('ip', ['netns', 'exec', netns, 'sh', '-c', script], { deadlineMs })
  return {
    index,
    netns,
    tap: 'tap0',
    address: theirs,
    uid,
    // The veth goes with it.
    [Symbol.asyncDispose]: async () => void (await command('ip', ['netns', 'del', netns], { deadlineMs })),
  }
}
