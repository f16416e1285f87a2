// Lifecycle events in E2B's words.
import { limits, Refused } from '@lelantos-ai/contract'
import type { Context } from '../../context.ts'
import { sandboxLogs } from '../../sandboxes/logs.ts'
import type { Caller } from '../../sandboxes/sandbox.ts'

export interface ForeignLogEntry {
  readonly timestamp: string
  readonly message: string
  readonly level: 'info' | 'error'
  readonly fields: Record<string, string>
}

export function foreignEntry(timestamp: string, line: string): ForeignLogEntry {
  return { timestamp, message: line, level: /\.error\b/.test(line) ? 'error' : 'info', fields: {} }
}

/** `GET /v2/sandboxes/{id}/logs`: `cursor` in ms since 1970, `direction` forward or backward, `level`, `search`, `limit`. */
export async function foreignLogs(
  context: Context,
  caller: Caller,
  sandboxID: string,
  query: Readonly<Record<string, unknown>>,
): Promise<ForeignLogEntry[]> {
  const backward = query['direction'] === 'backward'
  const limit = number(query['limit'], 'limit') ?? limits.logsPage.maximum
  const cursor = number(query['cursor'], 'cursor')
  const search = typeof query['search'] === 'string' ? query['search'] : ''
  const wanted = query['level'] === 'error' ? ['error'] : query['level'] === 'warn' ? ['error'] : ['info', 'error']
  const lines = await sandboxLogs(context, caller, sandboxID, { start: 0, limit: limits.logsPage.maximum })
  const entries = lines
    .filter(({ at }) => cursor === undefined || (backward ? at.getTime() <= cursor : at.getTime() >= cursor))
    .map(({ at, line }) => foreignEntry(at.toISOString(), line))
    .filter((entry) => wanted.includes(entry.level) && entry.message.includes(search))
  return (backward ? entries.reverse() : entries).slice(0, limit)
}

function number(value: unknown, field: string): number | undefined {
  if (value === undefined || value === '') return undefined
  const parsed = Number(value)
  if (!Number.isSafeInteger(parsed) || parsed < 0)
    throw new Refused('bad_request', `${field} must be an integer of at least 0`)
  return parsed
}
