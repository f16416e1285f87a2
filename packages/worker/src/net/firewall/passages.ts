// What of the slots' traffic other firewalls of the host must let pass, whatever they are made of.

/** Hooks that traffic of slots passes on the host. */
export const HOOKS = ['forward', 'input', 'output'] as const
export type Hook = (typeof HOOKS)[number]

/** What is accepted: on which hook, and which way. `replies` are packets of connections that the guest has opened. */
export interface Passage {
  readonly hook: Hook
  readonly direction: 'from_guest' | 'to_guest' | 'replies_to_guest'
}

export const PASSAGES: readonly Passage[] = [
  { hook: 'forward', direction: 'from_guest' },
  { hook: 'forward', direction: 'replies_to_guest' },
  { hook: 'input', direction: 'from_guest' },
  { hook: 'output', direction: 'to_guest' },
]

export interface Owner {
  /** What every interface of the installation's slots begins with. */
  readonly interfacePrefix: string
  /** The comment on its rules in chains of others. */
  readonly mark: string
}
