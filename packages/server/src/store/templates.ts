// Templates and their builds. A template without a team comes built, and every team sees it.
import { newID, type WorkerBuild } from '@lelantos-ai/contract'
import { sql } from 'kysely'
import type { Template } from '../templates/template.ts'
import type { InsertedSandbox } from './sandboxes.ts'
import type { Store } from './store.ts'

type Build = InsertedSandbox['build']

export interface TemplateBuilds {
  readonly templateID: string
  readonly name: string
  /** Newest first. */
  readonly builds: readonly Build[]
}

/** How many of a template's builds a create considers: workers may not all have the newest yet. */
const BUILDS_CONSIDERED = 10

/** What a create needs of a template that the team can see, by id or name; the team's own hides one that comes built. */
export async function findTemplateBuilds(
  store: Store,
  teamID: string,
  idOrName: string,
): Promise<TemplateBuilds | undefined> {
  const { rows } = await sql<{ template_id: string; name: string; builds: Build[] }>`
    select t.template_id, t.name, b.builds from templates t, lateral (
      select json_agg(json_build_object('buildID', build_id, 'cpuCount', cpu_count, 'memoryMB', memory_mb,
        'diskSizeMB', disk_size_mb, 'envdVersion', envd_version) order by created_at desc) as builds
      from (select * from builds where template_id = t.template_id order by created_at desc
        limit ${BUILDS_CONSIDERED}) newest) b
    where (t.template_id = ${idOrName} or t.name = ${idOrName}) and (t.team_id is null or t.team_id = ${teamID})
      and b.builds is not null
    order by t.team_id nulls last limit 1`.execute(store.db)
  const row = rows[0]
  return row && { templateID: row.template_id, name: row.name, builds: row.builds }
}

interface TemplateRow {
  template_id: string
  team_id: string | null
  name: string
  created_at: Date
  updated_at: Date
  build_id: string
  cpu_count: number
  memory_mb: number
  disk_size_mb: number
  envd_version: string
  last_spawned_at: Date | null
  spawn_count: string
  build_count: string
}

/** Templates that a team can see, oldest first. */
export async function pageOfTemplates(
  store: Store,
  page: { teamID: string; limit: number; after?: { createdAt: Date; templateID: string } },
): Promise<Template[]> {
  const after = page.after
  const position =
    after === undefined
      ? sql`true`
      : sql`(t.created_at, t.template_id) > (${after.createdAt}::timestamptz, ${after.templateID}::text)`
  return read(store, page.teamID, position, page.limit)
}

export async function findTemplate(store: Store, teamID: string, idOrName: string): Promise<Template | undefined> {
  const found = await read(store, teamID, sql`(t.template_id = ${idOrName} or t.name = ${idOrName})`, 2)
  return found.find((template) => template.teamID !== null) ?? found[0]
}

async function read(
  store: Store,
  teamID: string,
  condition: ReturnType<typeof sql>,
  limit: number,
): Promise<Template[]> {
  // Uses are counted by the team's own sandboxes: what other teams do with a shared template is not theirs to know.
  const { rows } = await sql<TemplateRow>`
    select t.*, b.*, t.template_id, t.created_at, s.spawn_count, s.last_spawned_at
    from templates t,
      lateral (select build_id, cpu_count, memory_mb, disk_size_mb, envd_version, count(*) over () as build_count
        from builds where template_id = t.template_id order by created_at desc limit 1) b,
      lateral (select count(*) as spawn_count, max(created_at) as last_spawned_at
        from sandboxes where template_id = t.template_id and team_id = ${teamID}) s
    where (t.team_id is null or t.team_id = ${teamID}) and ${condition}
    order by t.created_at, t.template_id limit ${limit}`.execute(store.db)
  return rows.map((row) => ({
    templateID: row.template_id,
    name: row.name,
    teamID: row.team_id,
    buildID: row.build_id,
    cpuCount: row.cpu_count,
    memoryMB: row.memory_mb,
    diskSizeMB: row.disk_size_mb,
    envdVersion: row.envd_version,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    lastSpawnedAt: row.last_spawned_at,
    spawnCount: Number(row.spawn_count),
    buildCount: Number(row.build_count),
  }))
}

/** Writes down a build of a template that comes built. Known builds stay as they are, so their order is that of their discovery. */
export async function recordBuiltIn(store: Store, build: WorkerBuild, now: Date): Promise<void> {
  await store.db.transaction().execute(async (transaction) => {
    await transaction
      .insertInto('templates')
      .values({ template_id: newID('template'), team_id: null, name: build.name, created_at: now, updated_at: now })
      .onConflict((conflict) => conflict.doNothing())
      .execute()
    const { template_id } = await transaction
      .selectFrom('templates')
      .select('template_id')
      .where('team_id', 'is', null)
      .where('name', '=', build.name)
      .executeTakeFirstOrThrow()
    const { numInsertedOrUpdatedRows } = await transaction
      .insertInto('builds')
      .values({
        build_id: build.buildID,
        template_id,
        cpu_count: build.cpuCount,
        memory_mb: build.memoryMB,
        disk_size_mb: build.diskSizeMB,
        envd_version: build.envdVersion,
        created_at: now,
      })
      .onConflict((conflict) => conflict.doNothing())
      .executeTakeFirstOrThrow()
    if ((numInsertedOrUpdatedRows ?? 0n) > 0n)
      await transaction
        .updateTable('templates')
        .set({ updated_at: now })
        .where('template_id', '=', template_id)
        .execute()
  })
}
