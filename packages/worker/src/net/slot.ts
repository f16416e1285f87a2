/** A place on the network of this host: a netns with the tap, a veth pair, address translation. Every guest sees the same addresses (`guestNetwork` of the contract), so any snapshot fits any slot. */
export interface Slot {
  /** 0, 1, 2, ...: names and addresses follow from it and from the installation. */
  readonly index: number
  /** Name of the network namespace, as `ip netns` knows it. */
  readonly netns: string
  /** Name of the tap in it. */
  readonly tap: string
  /** Where the host reaches the guest: each port of this address is the guest's. */
  readonly address: string
  /** The VMM of this slot runs as this user and group, and nothing else does. */
  readonly uid: number
}

export interface Slots {
  /** A prepared slot, from the pool of idle ones or made now (about 10 ms). Rejects when there is none left. */
  acquire(): Promise<Slot>
  /** Gives a slot back: connections of its last guest are cut, rules are as new. */
  release(slot: Slot): Promise<void>
  /** After a restart of the worker: the slot of this index is in use. */
  claim(index: number): Promise<Slot>
}
