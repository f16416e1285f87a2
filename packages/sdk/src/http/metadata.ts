/**
 * A metadata filter as the API's query wants it: names and values encoded and joined as a query string, which is encoded
 * once more when it becomes a query value.
 */
export function metadataFilter(metadata: Readonly<Record<string, string>> | undefined): string | undefined {
  const pairs = Object.entries(metadata ?? {})
  if (pairs.length === 0) return undefined
  return pairs.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join('&')
}
