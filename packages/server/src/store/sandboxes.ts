// Reading sandboxes, and the insert of a new one. Whatever serves a caller is scoped to the team in the query itself.
import { type PublicState, publicState, type State, states, transitionDeadlineMs } from '@lelantos-ai/contract'
import { type Selectable, sql } from 'kysely'
import type { Sandbox } from '../sandboxes/sandbox.ts'
import type { Moving } from './moves.ts'
import { leaseEnd, orderOf } from './orders.ts'
import { sandboxOf } from './sandbox-row.ts'
import type { Store } from './store.ts'
import type { SandboxTable, Tables } from './tables.ts'

export interface InsertedSandbox {
  readonly sandboxID: string
  readonly teamID: string
  readonly template: { readonly templateID: string; readonly name: string }
  readonly build: {
    readonly buildID: string
    readonly cpuCount: number
    readonly memoryMB: number
    readonly diskSizeMB: number
    readonly envdVersion: string
  }
  readonly worker: { readonly workerID: string; readonly bootID: string }
  readonly createdAt: Date
  readonly timeoutSeconds: number
  readonly endAt: Date | null
  readonly metadata: Readonly<Record<string, string>>
  readonly order: { readonly operationID: string; readonly args: object }
}

/** Writes a new sandbox, its first event and its create order, in one statement. */
export async function insertSandbox(db: Pick<Store, 'db'>, sandbox: InsertedSandbox): Promise<Moving> {
  const { build, template, worker, createdAt: now } = sandbox
  const deadline = new Date(now.getTime() + transitionDeadlineMs.creating)
  const { rows } = await sql<Selectable<SandboxTable> & { written: Selectable<Tables['orders']> }>`
    with made as (
      insert into sandboxes (sandbox_id, team_id, template_id, alias, build_id, state, generation, machine_generation,
        worker_id, boot_id, created_at, moved_at, transition_deadline, end_at, timeout_seconds, cpu_count, memory_mb,
        disk_size_mb, metadata, envd_version, event_count, placements)
      values (${sandbox.sandboxID}, ${sandbox.teamID}, ${template.templateID}, ${template.name}, ${build.buildID},
        'creating', 1, 1, ${worker.workerID}, ${worker.bootID}, ${now}, ${now}, ${deadline}, ${sandbox.endAt},
        ${sandbox.timeoutSeconds}, ${build.cpuCount}, ${build.memoryMB}, ${build.diskSizeMB},
        ${JSON.stringify(sandbox.metadata)}::jsonb, ${build.envdVersion}, 1, ${[worker.workerID]})
      returning *),
    told as (
      insert into events (sandbox_id, team_id, sequence, at, name, line)
      select sandbox_id, team_id, 1, ${now}::timestamptz, 'created', 'sandbox.lifecycle.created' from made),
    written as (
      insert into orders (operation_id, sandbox_id, generation, worker_id, verb, args, attempts, next_at, created_at)
      select ${sandbox.order.operationID}::text, sandbox_id, 1, worker_id, 'create',
        ${JSON.stringify(sandbox.order.args)}::jsonb, 1, ${leaseEnd(now)}::timestamptz, ${now}::timestamptz from made
      returning *)
    select made.*, (select to_jsonb(written) from written) as written from made`.execute(db.db)
  const row = rows[0]
  if (row === undefined) throw new Error(`the insert of sandbox ${sandbox.sandboxID} returned nothing`)
  return { sandbox: sandboxOf(row), order: orderOf(row.written) }
}

/** One sandbox of a team, ended or not. */
export async function findSandbox(store: Store, teamID: string, sandboxID: string): Promise<Sandbox | undefined> {
  const row = await store.db
    .selectFrom('sandboxes')
    .selectAll()
    .where('sandbox_id', '=', sandboxID)
    .where('team_id', '=', teamID)
    .executeTakeFirst()
  return row && sandboxOf(row)
}

/** One sandbox of whatever team: for reconcilers, waiters and the edge, which serve no caller by it. */
export async function readSandbox(store: Store, sandboxID: string): Promise<Sandbox | undefined> {
  const row = await store.db.selectFrom('sandboxes').selectAll().where('sandbox_id', '=', sandboxID).executeTakeFirst()
  return row && sandboxOf(row)
}

export interface SandboxPage {
  readonly teamID: string
  readonly states: readonly PublicState[]
  readonly metadata?: Readonly<Record<string, string>>
  readonly limit: number
  readonly after?: { readonly createdAt: Date; readonly sandboxID: string }
  readonly order: 'asc' | 'desc'
}

/** A page of a team's sandboxes, by time of creation. */
export async function pageOfSandboxes(store: Store, page: SandboxPage): Promise<Sandbox[]> {
  const inside: State[] = states.filter((state) => page.states.includes(publicState[state]))
  if (inside.length === 0) return []
  let query = store.db
    .selectFrom('sandboxes')
    .selectAll()
    .where('team_id', '=', page.teamID)
    .where('state', 'in', inside)
    .orderBy('created_at', page.order)
    .orderBy('sandbox_id', page.order)
    .limit(page.limit)
  if (page.metadata !== undefined && Object.keys(page.metadata).length > 0)
    query = query.where(sql<boolean>`metadata @> ${JSON.stringify(page.metadata)}::jsonb`)
  if (page.after !== undefined) {
    const { createdAt, sandboxID } = page.after
    query = query.where(
      page.order === 'asc'
        ? sql<boolean>`(created_at, sandbox_id) > (${createdAt}::timestamptz, ${sandboxID}::text)`
        : sql<boolean>`(created_at, sandbox_id) < (${createdAt}::timestamptz, ${sandboxID}::text)`,
    )
  }
  return (await query.execute()).map(sandboxOf)
}

/** Running sandboxes whose deadline is at or before `by`, soonest first. */
export async function expiringSandboxes(store: Store, by: Date, count: number): Promise<Sandbox[]> {
  const rows = await store.db
    .selectFrom('sandboxes')
    .selectAll()
    .where('state', '=', 'running')
    .where('end_at', '<=', by)
    .orderBy('end_at')
    .limit(count)
    .execute()
  return rows.map(sandboxOf)
}

/** Sandboxes whose transition is overdue and that a move can settle. */
export async function overdueSandboxes(store: Store, now: Date, count: number): Promise<Sandbox[]> {
  const rows = await store.db
    .selectFrom('sandboxes')
    .selectAll()
    .where('transition_deadline', '<=', now)
    .where('state', 'in', ['creating', 'pausing', 'resuming'])
    .orderBy('transition_deadline')
    .limit(count)
    .execute()
  return rows.map(sandboxOf)
}

/** Sandboxes in these states, of every team. */
export async function sandboxesInStates(store: Store, inside: readonly State[]): Promise<Sandbox[]> {
  const rows = await store.db
    .selectFrom('sandboxes')
    .selectAll()
    .where('state', 'in', inside)
    .orderBy('created_at')
    .execute()
  return rows.map(sandboxOf)
}

/** Sandboxes that the next start resumes. */
export async function sandboxesToWake(store: Store): Promise<Sandbox[]> {
  const rows = await store.db
    .selectFrom('sandboxes')
    .selectAll()
    .where('resume_at_start', '=', true)
    .where('state', 'in', ['pausing', 'paused'])
    .orderBy('moved_at')
    .execute()
  return rows.map(sandboxOf)
}
