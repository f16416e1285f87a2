// A worker that is stopped, killed or started anew: what ran is adopted, what was begun is finished or undone.
import { readdir, readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { newID } from '@lelantos-ai/contract'
import type { RosterEntry } from '@lelantos-ai/worker/roster'
import { killAndWait } from '@lelantos-ai/worker/host/process'
import { createArgs } from './server.ts'
import {
  endReports,
  host,
  nothing,
  one,
  restart,
  running,
  sandboxID,
  server,
  startAgain,
  until,
  worker,
} from './stage.ts'

describe('a worker that is started again', () => {
  it('adopts what runs and goes on with it', async () => {
    const paused = newID('sandbox')
    const [mine, theirs] = [newID('snapshot'), newID('snapshot')]
    await server.create(paused)
    await server.pause(paused, theirs)
    const { machineID } = (await server.create(sandboxID)) as { machineID: string }
    await restart()
    expect(worker.inspect(sandboxID)).toMatchObject({ machineID, phase: 'running' })
    expect(await host.holdings()).toEqual(one)
    expect(server.statement?.memory.reservedMB).toBe(512)
    expect(await server.pause(sandboxID, mine)).toMatchObject({ status: 'done' })
    expect(await server.resume(paused, theirs)).toMatchObject({ status: 'done' })
    expect(await host.holdings()).toEqual(one)
  })

  it('sees the end of what it has adopted', async () => {
    await server.create(sandboxID)
    await restart()
    ;(await running())?.guest.powerOff()
    await until(() => expect(endReports()).toMatchObject([{ event: { reason: 'guest_shutdown' } }]))
  })

  it('ends what has died meanwhile', async () => {
    await server.create(sandboxID)
    await worker.close({ machines: 'keep' })
    process.kill((await running())?.process.pid ?? 0, 'SIGKILL')
    await startAgain()
    await until(() => expect(endReports()).toMatchObject([{ sandboxID, event: { reason: 'vmm_died' } }]))
    expect(await host.holdings()).toMatchObject({ cgroups: 0, folders: 0 })
  })

  it('after a restart of the host ends what ran, and keeps what was paused', async () => {
    const paused = newID('sandbox')
    const snapshotID = newID('snapshot')
    await server.create(paused)
    await server.pause(paused, snapshotID)
    await server.create(sandboxID)
    await worker.close({ machines: 'keep' })
    for (const machine of await host.machines()) await killAndWait(machine.process)
    await startAgain({ bootID: 'boot-2' })
    await worker.ready
    await until(() => expect(endReports()).toMatchObject([{ sandboxID, event: { reason: 'host_restart' } }]))
    expect(await server.resume(paused, snapshotID)).toMatchObject({ status: 'done' })
  })

  it('removes machines and snapshots that nothing names', async () => {
    await server.create(sandboxID)
    const [kept] = (await host.cgroups.list()).keys()
    await host.cgroups.create('abcdef00000000', { memoryMB: 1, processes: 1 })
    const orphan = newID('snapshot')
    await host.seal(orphan)
    await restart()
    expect([...(await host.cgroups.list()).keys()]).toEqual([kept])
    expect(host.sealed.has(orphan)).toBe(false)
    expect(await host.holdings()).toEqual(one)
  })

  it('starts a create anew that was under way when the worker before it was killed', async () => {
    const order = server.next('create', sandboxID, createArgs)
    await server.settle(order)
    await worker.close({ machines: 'keep' })
    // As the roster was before the machine was handed over.
    const file = join(host.folder, 'worker/roster', `${sandboxID}.json`)
    const entry = JSON.parse(await readFile(file, 'utf8')) as RosterEntry
    const { outcome: _, ...operation } = entry.operation
    const { machineID = '', from = '' } = entry.machine ?? {}
    await writeFile(file, JSON.stringify({ ...entry, operation, phase: 'moving', machine: { machineID, from } }))
    await startAgain()
    expect(await running()).toBeUndefined()
    expect(await host.holdings()).toMatchObject({ cgroups: 0, folders: 0 })
    const outcome = await server.settle(order)
    expect(outcome).toMatchObject({ status: 'done' })
    expect(outcome).not.toMatchObject({ machineID })
    expect(await host.holdings()).toMatchObject({ alive: 1, cgroups: 1, folders: 1 })
  })

  it('finishes a pause whose snapshot was sealed, and repeats one whose snapshot was not', async () => {
    await server.create(sandboxID)
    const snapshotID = newID('snapshot')
    const order = server.next('pause', sandboxID, { snapshotID })
    for (const sealed of [false, true]) {
      const file = join(host.folder, 'worker/roster', `${sandboxID}.json`)
      await worker.close({ machines: 'keep' })
      const entry = JSON.parse(await readFile(file, 'utf8')) as object
      const { generation, operationID, verb } = order
      await writeFile(
        file,
        JSON.stringify({ ...entry, generation, operation: { operationID, verb, snapshotID }, phase: 'moving' }),
      )
      ;(await running())?.guest.setRunning(false)
      if (sealed) await host.seal(snapshotID)
      await startAgain()
      if (!sealed) {
        expect((await running())?.guest.state().running).toBe(true)
        expect(host.sealed.has(snapshotID)).toBe(false)
      } else {
        expect(await host.holdings()).toMatchObject({ alive: 0, cgroups: 0, folders: 0 })
        expect(worker.inspect(sandboxID)).toMatchObject({ phase: 'paused', snapshotID })
      }
    }
    expect(await server.settle(order)).toMatchObject({ status: 'done', snapshotBytes: expect.any(Number) as unknown })
  })

  it('ignores a write that was cut off, and deletes nothing when an entry cannot be read', async () => {
    const broken = newID('sandbox')
    const snapshotID = newID('snapshot')
    await server.create(broken)
    await server.pause(broken, snapshotID)
    await server.create(sandboxID)
    await worker.close({ machines: 'keep' })
    const roster = join(host.folder, 'worker/roster')
    await writeFile(join(roster, `${sandboxID}.json.new`), '{"sandboxID":"')
    await truncate(join(roster, `${broken}.json`), 20)
    await startAgain()
    expect(worker.inspect(sandboxID)).toMatchObject({ phase: 'running' })
    expect(worker.inspect(broken)).toBeUndefined()
    expect(host.sealed.has(snapshotID)).toBe(true)
    expect((await readdir(roster)).sort()).toEqual([`${sandboxID}.json`, `${broken}.json`].sort())
  })

  it('forgets an end after an hour, once the server knows it', async () => {
    let now = Date.now()
    await restart({ clock: { now: () => now } })
    await server.create(sandboxID)
    await server.kill(sandboxID)
    expect(await readdir(join(host.folder, 'worker/roster'))).toEqual([`${sandboxID}.json`])
    now += 3_700_000
    await until(async () => expect(await readdir(join(host.folder, 'worker/roster'))).toEqual([]))
  })
})

describe('a worker that is stopped', () => {
  it('for good ends what runs', async () => {
    await server.create(sandboxID)
    await worker.close({ machines: 'end' })
    expect(await host.holdings()).toEqual(nothing)
  })

  it('in the middle of a create takes it back, and the next one does it', async () => {
    host.fault('guest.init', 'hangs')
    const reached = host.reached('guest.init')
    const order = server.next('create', sandboxID, createArgs)
    const first = server.once(order)
    await reached
    await worker.close({ machines: 'end' })
    expect(await first).toMatchObject({ status: expect.stringMatching(/working|failed/) as unknown })
    expect(await host.holdings()).toEqual(nothing)
  })
})
