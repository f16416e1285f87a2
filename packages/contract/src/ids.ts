// Identifiers. Each is lower-case base 36 without a separator, since a sandbox's id is a label of a host name
// (`<port>-<id>.<domain>`) and E2B's clients accept only `^[a-z0-9]+$` there.

const ALPHABET = '0123456789abcdefghijklmnopqrstuvwxyz'

/** Kinds of id, each with the prefix that says what it names. */
export const ID_PREFIX = {
  sandbox: 'sbx',
  template: 'tpl',
  build: 'bld',
  snapshot: 'snp',
  operation: 'op',
  worker: 'wrk',
  team: 'team',
  key: 'key',
} as const

export type IDKind = keyof typeof ID_PREFIX

/** Random characters after the prefix: 17 of base 36 are 88 bits. */
export const ID_RANDOM_LENGTH = 17

/** Matches every id of a kind, from its first to its last character. */
export function idPattern(kind: IDKind): string {
  return `^${ID_PREFIX[kind]}[a-z0-9]{${ID_RANDOM_LENGTH}}$`
}

/** A new id. Its characters come from the platform's cryptographic generator, without modulo bias. */
export function newID(kind: IDKind): string {
  return ID_PREFIX[kind] + randomCharacters(ID_RANDOM_LENGTH)
}

/** Installation ids are six hex digits: they stand in the name of everything an installation owns on a host. */
export const INSTALLATION_PATTERN = '^[0-9a-f]{6}$'

/** A machine (a VM on a host) is older than the sandbox that gets it, so it has a name of its own. At most 15 characters fit an interface name; this is 14. */
export const MACHINE_PATTERN = '^[0-9a-f]{6}[a-z0-9]{8}$'

export function newMachineID(installation: string): string {
  return installation + randomCharacters(8)
}

/** API keys are `lel_` and 40 hex digits; the same body is accepted behind `e2b_`, which E2B's older clients insist on. */
export const API_KEY_PATTERN = '^(lel|e2b)_[0-9a-f]{40}$'

function randomCharacters(length: number): string {
  let text = ''
  while (text.length < length) {
    for (const byte of crypto.getRandomValues(new Uint8Array(length))) {
      // 252 is the largest multiple of 36 a byte reaches: what lies above it would favour the first characters.
      if (byte < 252 && text.length < length) text += ALPHABET[byte % 36]
    }
  }
  return text
}
