// Where a request carries an API key, for the API and for the edge alike.
import type { IncomingHttpHeaders } from 'node:http'

/** The API key of a request: `X-API-Key`, or `Authorization: Bearer`. Whether it is one that holds is the store's to say. */
export function apiKeyOf(headers: IncomingHttpHeaders): string | undefined {
  const key = headers['x-api-key']
  if (typeof key === 'string' && key !== '') return key.trim()
  const [, bearer] = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '') ?? []
  return bearer
}
