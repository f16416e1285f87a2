// Faults at every point of every verb, over a host that is counted: the sandbox is in a legal state afterwards, and
// nothing of a machine is left over.
import { describe, expect, it } from 'vitest'
import { newID } from '@lelantos-ai/contract'
import type { Fault, Point } from './fake-host.ts'
import { createArgs } from './server.ts'
import { endReports, host, nothing, one, running, sandboxID, server, until } from './stage.ts'

/** Every point of each verb, with what may go wrong there. */
const duringCreate: [Point, Fault][] = [
  ['slots.acquire', 'fails'],
  ['cgroups.create', 'fails'],
  ['snapshots.open', 'fails'],
  ['volume.room', 'fails'],
  ['engine.restore', 'fails'],
  ['engine.restore', 'dies'],
  ['engine.run', 'fails'],
  ['engine.run', 'dies'],
  ['guest.init', 'fails'],
]
const duringPause: [Point, Fault][] = [
  ['volume.room', 'fails'],
  ['engine.stop', 'fails'],
  ['snapshots.begin', 'fails'],
  ['engine.save', 'fails'],
  ['snapshots.seal', 'fails'],
]
const codes: Partial<Record<Point, string>> = {
  'slots.acquire': 'full',
  'snapshots.open': 'snapshot_damaged',
  'snapshots.seal': 'disk_full',
  'guest.init': 'guest',
}

describe('a fault during create', () => {
  it.each(duringCreate)('at %s (%s) leaves nothing, and the next create works', async (point, fault) => {
    host.fault(point, fault)
    const outcome = await server.create(sandboxID)
    expect(outcome).toMatchObject({ status: 'failed', code: codes[point] ?? 'engine' })
    expect(JSON.stringify(outcome)).toMatch(/fault at|network slot|died|ended before/)
    await until(async () => expect(await host.holdings()).toEqual(nothing))
    await until(() => expect(server.statement?.memory.reservedMB).toBe(0))
    expect(await server.create(newID('sandbox'))).toMatchObject({ status: 'done' })
    expect(await host.holdings()).toEqual(one)
  })

  it('is undone also when giving back fails for a while', async () => {
    host.fault('guest.init', 'fails')
    host.fault('cgroups.remove', 'fails', 2)
    host.fault('slots.release', 'fails', 1)
    expect(await server.create(sandboxID)).toMatchObject({ status: 'failed', code: 'guest' })
    expect(await host.holdings()).toEqual(nothing)
  })

  it.each<Point>(['engine.restore', 'engine.run', 'guest.init', 'slots.acquire'])(
    'that hangs at %s is ended by a kill within 5 s',
    async (point) => {
      host.fault(point, 'hangs')
      const reached = host.reached(point)
      const create = server.once(server.next('create', sandboxID, createArgs))
      await reached
      const start = performance.now()
      const kill = server.kill(sandboxID)
      if (point === 'slots.acquire') setTimeout(() => host.unhang(), 100) // the pool of slots answers in the end
      expect(await kill).toEqual({ status: 'done' })
      expect(performance.now() - start).toBeLessThan(5000)
      expect(await create).toMatchObject({ status: 'failed', code: 'aborted' })
      host.unhang()
      await until(async () => expect(await host.holdings()).toEqual(nothing))
    },
  )
})

describe('a fault during pause', () => {
  it.each(duringPause)('at %s (%s) lets the sandbox run on, and the next pause works', async (point, fault) => {
    await server.create(sandboxID)
    host.fault(point, fault)
    const lost = newID('snapshot')
    expect(await server.pause(sandboxID, lost)).toMatchObject({ status: 'failed', code: codes[point] ?? 'engine' })
    expect(await host.holdings()).toEqual(one)
    expect((await running())?.guest.state().running).toBe(true)
    expect(host.sealed.has(lost)).toBe(false)
    await until(() => expect(server.phase(sandboxID)).toBe('running'))
    expect(await server.pause(sandboxID)).toMatchObject({ status: 'done' })
    expect(await host.holdings()).toEqual(nothing)
  })

  it.each<Point>(['engine.stop', 'engine.save'])('in which the machine dies at %s ends the sandbox', async (point) => {
    await server.create(sandboxID)
    host.fault(point, 'dies')
    expect(await server.pause(sandboxID)).toMatchObject({
      status: 'failed',
      code: expect.stringMatching(/ended|engine/) as unknown,
    })
    await until(() => expect(endReports()).toMatchObject([{ sandboxID, event: { reason: 'vmm_died' } }]))
    await until(async () => expect(await host.holdings()).toEqual(nothing))
    expect(host.sealed.size).toBe(1)
  })

  it.each<Point>(['engine.stop', 'engine.save', 'snapshots.begin', 'snapshots.seal'])(
    'that hangs at %s is ended by a kill within 5 s',
    async (point) => {
      await server.create(sandboxID)
      host.fault(point, 'hangs')
      const reached = host.reached(point)
      const pause = server.once(server.next('pause', sandboxID, { snapshotID: newID('snapshot') }))
      await reached
      const start = performance.now()
      expect(await server.kill(sandboxID)).toEqual({ status: 'done' })
      expect(performance.now() - start).toBeLessThan(5000)
      expect(await pause).toMatchObject({ status: 'failed', code: 'aborted' })
      host.unhang()
      await until(async () => expect(await host.holdings()).toEqual(nothing))
      await until(() => expect(host.sealed.size).toBe(1))
    },
  )

  it('once sealed, is finished whatever fails in giving back', async () => {
    await server.create(sandboxID)
    host.fault('engine.kill', 'fails')
    host.fault('cgroups.remove', 'fails', 6)
    expect(await server.pause(sandboxID)).toMatchObject({ status: 'done' })
    expect(await host.holdings()).toEqual(nothing)
    expect(endReports()).toEqual([])
  })
})

describe('a fault during resume', () => {
  it.each(duringCreate)('at %s (%s) leaves the snapshot, and the next resume works', async (point, fault) => {
    const snapshotID = newID('snapshot')
    await server.create(sandboxID)
    await server.pause(sandboxID, snapshotID)
    host.fault(point, fault)
    expect(await server.resume(sandboxID, snapshotID)).toMatchObject({
      status: 'failed',
      code: codes[point] ?? 'engine',
    })
    await until(async () => expect(await host.holdings()).toEqual(nothing))
    await until(() => expect(server.phase(sandboxID)).toBe('paused'))
    expect(await server.resume(sandboxID, snapshotID)).toMatchObject({ status: 'done' })
    expect(await host.holdings()).toEqual(one)
  })
})

describe('a fault during kill', () => {
  it.each<[Point, Fault, number]>([
    ['engine.kill', 'fails', 3],
    ['engine.kill', 'hangs', 3],
    ['cgroups.remove', 'fails', 6],
    ['slots.release', 'fails', 6],
    ['snapshots.delete', 'fails', 2],
  ])('at %s (%s) is tried again until it succeeds', async (point, fault, times) => {
    const snapshotID = newID('snapshot')
    await server.create(sandboxID)
    await server.pause(sandboxID, snapshotID)
    await server.resume(sandboxID, snapshotID)
    host.fault(point, fault, times)
    expect(await server.kill(sandboxID)).toEqual({ status: 'done' })
    expect(await host.holdings()).toEqual(nothing)
    expect(host.sealed.has(snapshotID)).toBe(false)
  })
})
