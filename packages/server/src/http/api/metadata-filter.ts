// The filter `metadata=user%3Du1%26run%3D7`: pairs encoded as a query string, which is one value of the query. E2B's
// clients encode names and values once more before that.
import { Refused } from '@lelantos-ai/contract'

/** The pairs; undefined for no filter. `encodedTwice`: as E2B's clients send it. */
export function parseMetadataFilter(
  value: string | undefined,
  encodedTwice: boolean,
): Record<string, string> | undefined {
  if (value === undefined || value === '') return undefined
  const decode = encodedTwice ? decoded : (text: string): string => text
  const pairs: [string, string][] = []
  for (const part of value.split('&')) {
    if (!part.includes('=')) throw new Refused('bad_request', 'metadata must be pairs, URL-encoded: user%3Du1')
    for (const [name, text] of new URLSearchParams(part)) pairs.push([decode(name), decode(text)])
  }
  if (pairs.some((pair) => pair.some((text) => text.includes('\0'))))
    throw new Refused('bad_request', 'metadata must be text without NUL characters')
  return Object.fromEntries(pairs)
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text // a lone per cent sign: sent by a client that encodes once
  }
}
