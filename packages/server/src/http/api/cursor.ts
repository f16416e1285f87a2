// Cursors of pages, opaque to clients: a list of texts as base64url.
import { Refused } from '@lelantos-ai/contract'

export function encodeCursor(at: Date, id: string): string {
  return Buffer.from(`${at.toISOString()} ${id}`).toString('base64url')
}

/** Refuses `bad_request` for what no page gave. */
export function decodeCursor(token: string | undefined): { at: Date; id: string } | undefined {
  if (token === undefined || token === '') return undefined
  const text = Buffer.from(token, 'base64url').toString('latin1')
  const [, time, id] = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) ([a-z0-9]{1,64})$/.exec(text) ?? []
  if (time === undefined || id === undefined || Number.isNaN(Date.parse(time)))
    throw new Refused('bad_request', 'nextToken must be one that an earlier page gave')
  return { at: new Date(time), id }
}
