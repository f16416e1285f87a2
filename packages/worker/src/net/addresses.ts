// IPv4 addresses of slots. An installation has a /16; slot n has the n-th /30 of it: the host's end of the veth pair is
// its first address, the slot's its second. The last /24 is not given to slots: the DNS relay's address is in it.

/** An IPv4 network: its first address as an unsigned 32-bit number, and the length of its prefix. */
export interface Network {
  readonly base: number
  readonly prefixLength: number
}

/** Slots that fit a /16 without its last /24. */
export const SLOTS_MAX = (65_536 - 256) / 4

/** Reads `10.201.0.0/16` or a lone address (a /32). Throws unless it is one. */
export function parseNetwork(text: string): Network {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?:\/(\d{1,2}))?$/.exec(text)
  const octets = match?.slice(1, 5).map(Number) ?? []
  const prefixLength = Number(match?.[5] ?? 32)
  if (octets.length !== 4 || octets.some((octet) => octet > 255) || prefixLength > 32) {
    throw new Error(`not an IPv4 network: ${JSON.stringify(text)}`)
  }
  const address = octets.reduce((sum, octet) => sum * 256 + octet, 0)
  const size = 2 ** (32 - prefixLength)
  return { base: address - (address % size), prefixLength }
}

/** Dotted decimal of an unsigned 32-bit number. */
export function formatAddress(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.')
}

/** Whether two networks have an address in common. */
export function overlap(left: Network, right: Network): boolean {
  const end = (network: Network) => network.base + 2 ** (32 - network.prefixLength)
  return left.base < end(right) && right.base < end(left)
}

/** What slot `index` of an installation is called, and its addresses. */
export interface SlotLayout {
  /** Of the network namespace and of the host's end of the veth pair: at most 15 characters, which is what an interface name may have. */
  readonly name: string
  readonly hostAddress: string
  readonly slotAddress: string
}

export function slotLayout(installation: string, subnet: Network, index: number): SlotLayout {
  if (!Number.isInteger(index) || index < 0 || index >= SLOTS_MAX) {
    throw new Error(`a slot's index must be 0 to ${SLOTS_MAX - 1}, got ${index}`)
  }
  const first = subnet.base + index * 4
  return {
    name: `${slotPrefix(installation)}${index}`,
    hostAddress: formatAddress(first + 1),
    slotAddress: formatAddress(first + 2),
  }
}

/** What the names of an installation's slots begin with. */
export function slotPrefix(installation: string): string {
  return `lel${installation}s`
}

/** Where the DNS relay of an installation listens, on the host's loopback interface. */
export function relayAddress(subnet: Network): string {
  return formatAddress(subnet.base + 65_534)
}
