// Brings the tables up to date: the numbered files in `migrations/`, in order, each once, each in a transaction. Servers
// that start together take turns under a lock of PostgreSQL's.
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Log } from '@lelantos-ai/contract'
import { type Kysely, sql } from 'kysely'
import type { Tables } from './tables.ts'

const FOLDER = join(import.meta.dirname, 'migrations')
/** Any number, so long as nothing else in the database locks it. */
const LOCK = 5_318_008_711

export async function migrate(db: Kysely<Tables>, log: Log): Promise<void> {
  const files = (await readdir(FOLDER)).filter((name) => /^\d{4}_\w+\.sql$/.test(name)).sort()
  await db.transaction().execute(async (transaction) => {
    await sql`select pg_advisory_xact_lock(${LOCK})`.execute(transaction)
    await sql`create table if not exists migrations (
      name text primary key, hash text not null, applied_at timestamptz not null default now())`.execute(transaction)
    const { rows } = await sql<{ name: string; hash: string }>`select name, hash from migrations`.execute(transaction)
    const applied = new Map(rows.map((row) => [row.name, row.hash]))
    for (const name of applied.keys())
      if (!files.includes(name)) throw new Error(`the database has migration ${name}, which this version does not know`)
    for (const name of files) {
      const text = await readFile(join(FOLDER, name), 'utf8')
      const hash = createHash('sha256').update(text).digest('hex')
      const known = applied.get(name)
      if (known !== undefined && known !== hash) throw new Error(`migration ${name} was changed after it was applied`)
      if (known !== undefined) continue
      await sql.raw(text).execute(transaction)
      await sql`insert into migrations (name, hash) values (${name}, ${hash})`.execute(transaction)
      log.info({ migration: name }, 'applied a migration')
    }
  })
}
