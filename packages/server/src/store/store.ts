// PostgreSQL, opened: the pool, and every table with its migrations applied. All SQL of the server is in this folder.
import type { Log } from '@lelantos-ai/contract'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { withDeadline } from './deadline.ts'
import { migrate } from './migrate.ts'
import type { Tables } from './tables.ts'

/** Folder and user of a private PostgreSQL's socket, or the URL of a shared one. */
export type Database = { readonly socketFolder: string; readonly user: string } | { readonly url: string }

export interface Store extends AsyncDisposable {
  /** For whatever somebody waits for: rejects (`isStoreAway`) when PostgreSQL does not answer. */
  readonly db: Kysely<Tables>
  /** For what may take its time: migrations, housekeeping. */
  readonly patient: Kysely<Tables>
}

/** Connections of one server process. The private PostgreSQL allows 30 in all. */
const POOL_SIZE = 12
/** A store that is away answers within this: writes to the API become 503 in 2 s. */
const CONNECT_MS = 1500
const ANSWER_MS = 1500
const STATEMENT_MS = 20_000
/** Beyond PostgreSQL's own deadline: then it hangs. */
const PATIENT_MS = STATEMENT_MS + 5000

/** Connects and brings the tables up to date. Rejects when PostgreSQL is away or was migrated by a newer version. */
export async function openStore(database: Database, log: Log): Promise<Store> {
  const pool = new pg.Pool({
    ...('url' in database
      ? { connectionString: database.url }
      : { host: database.socketFolder, user: database.user, database: 'postgres' }),
    max: POOL_SIZE,
    connectionTimeoutMillis: CONNECT_MS,
    statement_timeout: STATEMENT_MS,
    idle_in_transaction_session_timeout: STATEMENT_MS,
    application_name: 'lelantos',
  })
  pool.on('error', (err) => log.warn({ err }, 'an idle connection to PostgreSQL has ended'))
  // One that is cut between two queries of a transaction: the next query fails, and nobody else would listen to this.
  pool.on('connect', (client) => client.on('error', (err) => log.debug({ err }, 'a connection to PostgreSQL was cut')))
  const within = (ms: number) => new Kysely<Tables>({ dialect: new PostgresDialect({ pool: withDeadline(pool, ms) }) })
  const patient = within(PATIENT_MS)
  try {
    await migrate(patient, log)
  } catch (error) {
    await pool.end()
    throw error
  }
  return { db: within(ANSWER_MS), patient, [Symbol.asyncDispose]: () => pool.end() }
}
