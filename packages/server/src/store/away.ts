// Whether an error means that PostgreSQL is away for a moment, and not that a query is wrong.

const NETWORK = new Set(['ECONNREFUSED', 'ECONNRESET', 'ENOENT', 'EPIPE', 'ETIMEDOUT', 'EACCES'])
/** SQLSTATE classes: connection exceptions, insufficient resources, operator intervention. */
const CLASSES = ['08', '53', '57']
const MESSAGES = [
  'timeout exceeded when trying to connect',
  'Connection terminated',
  'Client has encountered a connection error',
]

/** `http/` answers such an error with 503 `unavailable`; reconcilers try again at their next turn. */
export function isStoreAway(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const code = 'code' in cause ? String(cause.code) : ''
    if (NETWORK.has(code)) return true
    if (/^[0-9A-Z]{5}$/.test(code) && CLASSES.includes(code.slice(0, 2))) return true
    const text = cause.message
    if (MESSAGES.some((message) => text.includes(message))) return true
  }
  return false
}
