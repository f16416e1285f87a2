// What E2B's clients can ask for that is not here. It is refused, never ignored: a sandbox without the firewall that was
// asked for, or killed where a pause was, is worse than none.
import { Refused } from '@lelantos-ai/contract'

/** Refuses `not_supported` for what a create or connect asks and would not get. */
export function refuseForeignOptions(body: object): void {
  const asked = body as Record<string, unknown>
  const unsupported = [
    asked['autoPause'] === true && 'autoPause',
    isSet(asked['autoResume']) && (asked['autoResume'] as { enabled?: unknown }).enabled === true && 'autoResume',
    asked['allow_internet_access'] === false && 'allow_internet_access: false',
    isSet(asked['network']) && !isHarmless(asked['network']) && 'network',
    isSet(asked['iam']) && 'iam',
    isSet(asked['mcp']) && 'mcp',
    Array.isArray(asked['volumeMounts']) && asked['volumeMounts'].length > 0 && 'volumeMounts',
    asked['memory'] === false && 'memory: false',
  ].find((name) => typeof name === 'string')
  if (unsupported !== undefined) throw new Refused('not_supported', `${unsupported} is not supported here`)
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null
}

/** Rules that ask for what is so anyway. */
function isHarmless(network: unknown): boolean {
  if (typeof network !== 'object' || network === null) return false
  return Object.entries(network).every(([name, value]) =>
    name === 'allowPublicTraffic' ? value !== false : !isSet(value),
  )
}
