/**
 * A metadata filter as the API's query wants it: names and values encoded, joined as a query string, which is encoded
 * once more when it becomes a query value. Three encodings, because E2B's clients send it so and the routes are shared.
 */
export function metadataFilter(metadata: Readonly<Record<string, string>> | undefined): string | undefined {
  const pairs = Object.entries(metadata ?? {})
  if (pairs.length === 0) return undefined
  const twice = (text: string) => encodeURIComponent(encodeURIComponent(text))
  return pairs.map(([name, value]) => `${twice(name)}=${twice(value)}`).join('&')
}
