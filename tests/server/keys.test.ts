// API keys and templates, against a real PostgreSQL; and what it looks like when that is away.
import { newID } from '@lelantos-ai/contract'
import { authenticate, createKey, deleteKey, firstKey, listKeys } from '@lelantos-ai/server/keys/keys'
import { isStoreAway } from '@lelantos-ai/server/store/away'
import { openStore, type Store } from '@lelantos-ai/server/store/store'
import { upsertBuiltIn } from '@lelantos-ai/server/templates/built-in'
import { getTemplate, listTemplates } from '@lelantos-ai/server/templates/templates'
import { silentLog } from '@lelantos-ai/contract'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Plane, refusal, startPlane, until } from './plane.ts'
import { withStore } from './postgres.ts'

let store: Store
let plane: Plane
withStore((opened) => (store = opened))
beforeEach(async () => {
  plane = await startPlane(store)
})
afterEach(() => plane[Symbol.asyncDispose]())

describe('keys', () => {
  it('are shown once, stored as a hash, and open with either prefix', async () => {
    const { context, caller } = plane
    const { key, keyID, mask } = await createKey(context, caller, 'ci')
    expect(key).toMatch(/^lel_[0-9a-f]{40}$/)
    expect(key.startsWith(mask.slice(0, 8)) && key.endsWith(mask.slice(-4))).toBe(true)
    const { rows } = await sql<{ text: string }>`select k::text as text from api_keys k`.execute(store.db)
    expect(rows[0]?.text).not.toContain(key.slice(4))
    expect(await authenticate(context, key)).toEqual({ teamID: caller.teamID, keyID })
    expect(await authenticate(context, key.replace('lel_', 'e2b_'))).toEqual({ teamID: caller.teamID, keyID })
    for (const wrong of ['', 'lel_', key.slice(0, -1), `${key}0`, `lel_${'0'.repeat(40)}`, key.toUpperCase()])
      expect(await authenticate(context, wrong)).toBe(undefined)
    await until('its use is noted', async () => (await listKeys(context, caller))[0]?.lastUsedAt !== null)
  })

  it('stop working at once when deleted, cannot delete themselves, and are the team’s own affair', async () => {
    const { context } = plane
    const mine = await createKey(context, plane.caller, 'mine')
    const other = await createKey(context, plane.caller, 'other')
    const caller = await authenticate(context, mine.key)
    if (caller === undefined) throw new Error('a fresh key is not valid')
    expect(await authenticate(context, other.key)).not.toBe(undefined)
    expect(await refusal(deleteKey(context, await plane.stranger(), other.keyID))).toBe('key_not_found')
    expect(await refusal(deleteKey(context, caller, mine.keyID))).toBe('last_key')
    await deleteKey(context, caller, other.keyID)
    expect(await authenticate(context, other.key)).toBe(undefined)
    expect(await refusal(deleteKey(context, caller, other.keyID))).toBe('key_not_found')
    expect((await listKeys(context, caller)).map(({ name }) => name)).toEqual(['mine'])
    expect(await listKeys(context, await plane.stranger())).toEqual([])
  })

  it('of the first team are made once, and kept while they are valid', async () => {
    const { context } = plane
    const [one, two] = await Promise.all([firstKey(context, undefined), firstKey(context, undefined)])
    expect((await authenticate(context, one))?.teamID).toBe((await authenticate(context, two))?.teamID)
    expect(await firstKey(context, one)).toBe(one)
    expect(await firstKey(context, `lel_${'f'.repeat(40)}`)).not.toBe(one)
  })
})

describe('templates', () => {
  const build = (name: string) => ({
    buildID: newID('build'),
    name,
    cpuCount: 1,
    memoryMB: 256,
    diskSizeMB: 20_480,
    envdVersion: '0.5.7',
  })

  it('that come built are there by id and name for every team, with their newest build', async () => {
    const { context, caller } = plane
    await plane.create()
    const newer = build('base')
    await Promise.all([upsertBuiltIn(context, [newer, build('python')]), upsertBuiltIn(context, [newer])])
    await upsertBuiltIn(context, [newer])
    const base = await getTemplate(context, caller, 'base')
    expect(base).toMatchObject({ name: 'base', teamID: null, buildID: newer.buildID, buildCount: 2, spawnCount: 1 })
    expect(await getTemplate(context, await plane.stranger(), base.templateID)).toMatchObject({ spawnCount: 0 })
    expect(await refusal(getTemplate(context, caller, 'none'))).toBe('template_not_found')
    const first = await listTemplates(context, caller, { limit: 1 })
    const rest = await listTemplates(context, caller, { limit: 1, ...(first.next ? { after: first.next } : {}) })
    expect([...first.templates, ...rest.templates].map(({ name }) => name)).toEqual(['base', 'python'])
    expect(rest.next).toBe(undefined)
  })

  it('are created from a build that a connected worker has, though there is a newer one', async () => {
    const before = await plane.create()
    await upsertBuiltIn(plane.context, [build('base')])
    expect((await plane.create()).buildID).toBe(before.buildID)
  })

  it('of a team are not seen by another', async () => {
    const { context, caller } = plane
    const id = newID('template')
    await sql`insert into templates values (${id}, ${caller.teamID}, 'own', now(), now())`.execute(store.db)
    await sql`insert into builds values (${newID('build')}, ${id}, 2, 512, 20480, '0.5.7', now())`.execute(store.db)
    expect((await getTemplate(context, caller, 'own')).templateID).toBe(id)
    expect(await refusal(getTemplate(context, await plane.stranger(), id))).toBe('template_not_found')
  })
})

it('a store that is away is told from a query that is wrong', async () => {
  const nowhere = { socketFolder: '/nonexistent', user: 'nobody' }
  const away = await openStore(nowhere, silentLog).catch((error: unknown) => error)
  expect(isStoreAway(away)).toBe(true)
  const wrong = await sql`select 1 from nothing`.execute(store.db).catch((error: unknown) => error)
  expect(isStoreAway(wrong)).toBe(false)
  const cut = store.db.connection().execute(async (connection) => {
    const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(connection)
    await sql`select pg_terminate_backend(${rows[0]?.pid ?? 0})`.execute(store.db)
    await sql`select 1`.execute(connection)
  })
  expect(isStoreAway(await cut.catch((error: unknown) => error))).toBe(true)
  // The pool may hand the cut connection out once more before it learns of it.
  await until('it answers again', async () => {
    const again = await sql`select 1`.execute(store.db).catch((error: unknown) => error)
    expect(again instanceof Error && !isStoreAway(again)).toBe(false)
    return !(again instanceof Error)
  })
})
