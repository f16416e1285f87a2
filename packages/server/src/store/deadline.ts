// A pool whose queries have a deadline of their own. `statement_timeout` is PostgreSQL's, so one that hangs does not keep
// it: a stopped process, a full disk under it, a host that is gone. A connection whose query is late is cut, since nobody
// could tell later answers on it apart; what the query did or not is then unknown, as after any lost connection.
import type { PostgresPool, PostgresPoolClient } from 'kysely'
import type pg from 'pg'

/** Even a query that had to wait for its connection has this long. */
const LEAST_MS = 300

/** `answerMs`: for getting a connection and the first answer on it together, and for each query after that. */
export function withDeadline(pool: pg.Pool, answerMs: number): PostgresPool {
  return {
    options: pool.options,
    connect: async () => {
      const asked = performance.now()
      const client = await pool.connect()
      return boundClient(client, answerMs, Math.max(LEAST_MS, answerMs - (performance.now() - asked)))
    },
    // The pool is several of these's, and ended by who made it.
    end: async () => {},
  }
}

function boundClient(client: pg.PoolClient, answerMs: number, firstMs: number): PostgresPoolClient {
  let withinMs = firstMs
  let late: Error | undefined
  const query = async (text: string, parameters: readonly unknown[]): Promise<pg.QueryResult> => {
    if (late !== undefined) throw late // a rollback, say
    const ms = withinMs
    withinMs = answerMs
    let timer: NodeJS.Timeout | undefined
    const expired = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        late = Object.assign(new Error(`PostgreSQL did not answer in ${Math.round(ms)} ms`), { code: 'ETIMEDOUT' })
        reject(late)
        client.release(late) // which cuts it
      }, ms)
    })
    try {
      // When it is late, what becomes of the query after all is nobody's.
      return await Promise.race([client.query(text, [...parameters]), expired])
    } finally {
      clearTimeout(timer)
    }
  }
  return {
    // Its other form is for cursors, which nothing here asks for.
    query: query as unknown as PostgresPoolClient['query'],
    release: (destroy) => {
      if (late === undefined) client.release(destroy)
    },
  }
}
