// What a worker promises the server: orders do what they say, once, and ends are reported.
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { envdAccessToken, newID, seal } from '@lelantos-ai/contract'
import { createArgs, installationKey } from './server.ts'
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

describe('a sandbox', () => {
  it('is created, paused, resumed and killed, and leaves nothing', async () => {
    const environment = seal(installationKey, sandboxID, JSON.stringify({ MODE: 'x' }))
    const created = await server.create(sandboxID, { environment })
    expect(created).toEqual({
      status: 'done',
      address: '10.0.0.1',
      machineID: expect.stringMatching(/^abcdef[a-z0-9]{8}$/),
    })
    const accessToken = envdAccessToken(installationKey, sandboxID)
    expect(host.inits.at(-1)?.init).toEqual({
      sandboxID,
      templateID: 'base',
      accessToken,
      envVars: { MODE: 'x' },
      hostname: sandboxID,
    })
    expect(await host.holdings()).toEqual(one)
    await until(() => expect(server.phase(sandboxID)).toBe('running'))
    expect(server.statement?.memory).toEqual({ totalMB: 4096, reservedMB: 512 })

    const first = newID('snapshot')
    expect(await server.pause(sandboxID, first)).toEqual({
      status: 'done',
      snapshotBytes: expect.any(Number) as unknown,
    })
    expect(await host.holdings()).toEqual(nothing)
    await until(() => expect(server.phase(sandboxID)).toBe('paused'))
    expect(server.statement?.memory.reservedMB).toBe(0)

    expect(await server.resume(sandboxID, first)).toMatchObject({ status: 'done', address: '10.0.0.1' })
    expect(host.inits.at(-1)?.init).not.toHaveProperty('envVars')
    const second = newID('snapshot')
    expect(await server.pause(sandboxID, second)).toMatchObject({ status: 'done' })
    expect(host.sealed.has(first)).toBe(false)
    expect(host.sealed.has(second)).toBe(true)

    expect(await server.resume(sandboxID, second)).toMatchObject({ status: 'done' })
    expect(await server.kill(sandboxID)).toEqual({ status: 'done' })
    expect(host.sealed.has(second)).toBe(false)
    expect(await host.holdings()).toEqual(nothing)
    expect(host.sealed.size).toBe(1)
    await until(() => expect(server.phase(sandboxID)).toBeUndefined())
  })

  it('is released: the machine goes, the snapshot stays', async () => {
    await server.create(sandboxID)
    const snapshotID = newID('snapshot')
    await server.pause(sandboxID, snapshotID)
    await server.resume(sandboxID, snapshotID)
    expect(await server.settle(server.next('release', sandboxID, {}))).toEqual({ status: 'done' })
    expect(await host.holdings()).toEqual(nothing)
    expect(host.sealed.has(snapshotID)).toBe(true)
    expect(await server.resume(sandboxID, snapshotID)).toMatchObject({ status: 'done' })
  })

  it('is resumed only from its own snapshot', async () => {
    const other = newID('sandbox')
    const [mine, theirs] = [newID('snapshot'), newID('snapshot')]
    await server.create(sandboxID)
    await server.create(other)
    await server.pause(sandboxID, mine)
    await server.pause(other, theirs)
    expect(await server.resume(sandboxID, theirs)).toMatchObject({ status: 'failed', code: 'snapshot_missing' })
    expect(await server.resume(sandboxID, mine)).toMatchObject({ status: 'done' })
  })

  it('is inspected', async () => {
    const { machineID } = (await server.create(sandboxID)) as { machineID: string }
    expect(worker.inspect(sandboxID)).toMatchObject({
      sandboxID,
      phase: 'running',
      engine: 'fake',
      machineID,
      netns: 'fake0',
      address: '10.0.0.1',
      cgroup: [host.cgroupFolder(machineID)],
      pid: (await running())?.process.pid,
    })
    expect(worker.inspect(newID('sandbox'))).toBeUndefined()
  })
})

describe('orders', () => {
  it('doubled, do what is ordered once', async () => {
    server.bus.disturb({ copies: () => 3, delayMs: () => 1 })
    expect(await server.create(sandboxID)).toMatchObject({ status: 'done' })
    expect(host.inits).toHaveLength(2) // the other one is the template's
    expect(await host.holdings()).toEqual(one)
    await server.kill(sandboxID)
    expect(await host.holdings()).toEqual(nothing)
  })

  it('repeated, get the outcome of the first', async () => {
    const order = server.next('create', sandboxID, createArgs)
    const first = await server.settle(order)
    expect(await server.once(order)).toEqual(first)
    await restart()
    expect(await server.once(order)).toEqual(first)
    expect(await host.holdings()).toEqual(one)
  })

  it('that come late are stale', async () => {
    const create = server.next('create', sandboxID, createArgs)
    const kill = server.next('kill', sandboxID, {})
    expect(await server.settle(kill)).toEqual({ status: 'done' })
    expect(await server.once(create)).toMatchObject({ status: 'failed', code: 'stale' })
    await restart()
    expect(await server.once(create)).toMatchObject({ status: 'failed', code: 'stale' })
    expect(await host.holdings()).toEqual(nothing)
  })

  it('about a sandbox that is not here are refused, and leave nothing in the roster', async () => {
    expect(await server.pause(sandboxID)).toMatchObject({ status: 'failed', code: 'unknown_sandbox' })
    expect(await readdir(join(host.folder, 'worker/roster'))).toEqual([])
  })

  it('that are none are refused', async () => {
    const order = server.next('create', sandboxID, createArgs)
    for (const wrong of [
      undefined,
      {},
      { ...order, sandboxID: '../../etc' },
      { ...order, generation: 0 },
      { ...order, verb: 'format' },
      { ...order, args: { ...createArgs, memoryMB: 1e9 } },
      { ...order, args: { ...createArgs, endAt: 'soon' } },
    ])
      await expect(server.once(wrong)).rejects.toMatchObject({ kind: 'failed' })
    expect(await host.holdings()).toEqual(nothing)
  })

  it('of an unknown build are refused', async () => {
    expect(await server.create(sandboxID, { buildID: newID('build') })).toMatchObject({ code: 'unknown_build' })
  })

  it('beyond the memory of the host are refused as full, and taken again when there is room', async () => {
    const sandboxes = Array.from({ length: 8 }, () => newID('sandbox'))
    for (const id of sandboxes) expect(await server.create(id)).toMatchObject({ status: 'done' })
    expect(await server.create(sandboxID)).toMatchObject({ status: 'failed', code: 'full' })
    expect(await host.holdings()).toMatchObject({ alive: 8, slots: 8 })
    await server.kill(sandboxes[0] ?? '')
    expect(await server.create(sandboxID)).toMatchObject({ status: 'done' })
  })

  it('that make room say so before they are answered', async () => {
    const reserved = () => server.statement?.memory.reservedMB ?? 0
    const sandboxes = Array.from({ length: 8 }, () => newID('sandbox'))
    for (const id of sandboxes) await server.create(id)
    await until(() => expect(server.statement?.holdings).toHaveLength(8))
    for (const id of sandboxes) {
      const before = reserved()
      await server.kill(id)
      await new Promise((resolve) => setTimeout(resolve, 1)) // as long as the bus in this process takes for it
      expect(reserved()).toBeLessThan(before)
    }
  })

  it('below the reserve of the volume are refused', async () => {
    host.roomBytes = -1
    expect(await server.create(sandboxID)).toMatchObject({ status: 'failed', code: 'disk_full' })
    expect(await host.holdings()).toEqual(nothing)
  })

  it('with an environment under a broken seal are refused', async () => {
    const environment = seal(installationKey, newID('sandbox'), '{}')
    expect(await server.create(sandboxID, { environment })).toMatchObject({ status: 'failed' })
    expect(await host.holdings()).toEqual(nothing)
  })

  it('that take long are answered with working, and their outcome is reported', async () => {
    host.fault('guest.init', 'hangs')
    const order = server.next('create', sandboxID, createArgs)
    expect(await server.once(order)).toEqual({ status: 'working' })
    host.unhang()
    await until(() =>
      expect(server.reports).toContainEqual(
        expect.objectContaining({
          sandboxID,
          event: expect.objectContaining({ kind: 'settled', operationID: order.operationID }) as unknown,
        }),
      ),
    )
  })
})

describe('a machine that ends by itself', () => {
  const die = async () => process.kill((await running())?.process.pid ?? 0, 'SIGKILL')

  it.each([
    ['vmm_died', die],
    ['guest_shutdown', async () => (await running())?.guest.powerOff()],
    ['guest_reset', async () => (await running())?.guest.reboot()],
  ] as const)('(%s) ends its sandbox within 2 s, with one report and nothing left', async (reason, happens) => {
    await server.create(sandboxID)
    const start = performance.now()
    await happens()
    await until(() => expect(endReports()).toMatchObject([{ sandboxID, generation: 1, event: { reason } }]))
    expect(performance.now() - start).toBeLessThan(2000)
    expect(await host.holdings()).toEqual(nothing)
    expect(await server.pause(sandboxID)).toMatchObject({ status: 'failed', code: 'ended' })
    expect(await server.kill(sandboxID)).toEqual({ status: 'done' })
  })

  it('is reported until the server takes it, also by the next worker', async () => {
    server.takes = false
    await server.create(sandboxID)
    await die()
    await until(() => expect(endReports().length).toBeGreaterThan(1))
    expect(server.phase(sandboxID)).toBe('ended')
    await restart()
    server.reports.length = 0
    server.takes = true
    await until(() => expect(endReports()).toHaveLength(1))
    await until(() => expect(server.phase(sandboxID)).toBeUndefined())
    await restart()
    server.reports.length = 0
    await until(() => expect(server.statement?.holdings).toEqual([]))
    expect(endReports()).toEqual([])
  })
})

describe('a deadline', () => {
  it('is kept without a server, 200 ms after the server should have', async () => {
    const endAt = Date.now() + 300
    await server.create(sandboxID, { endAt: new Date(endAt).toISOString() })
    await until(() => expect(endReports()).toMatchObject([{ sandboxID, event: { reason: 'timeout' } }]))
    expect(Date.now()).toBeGreaterThanOrEqual(endAt + 190)
    expect(Date.now()).toBeLessThan(endAt + 1000)
    expect(await host.holdings()).toEqual(nothing)
  })

  it('can be moved and lifted', async () => {
    await server.create(sandboxID, { endAt: new Date(Date.now() + 300).toISOString() })
    expect(await server.settle(server.next('deadline', sandboxID, { endAt: null }))).toEqual({ status: 'done' })
    await new Promise((resolve) => setTimeout(resolve, 700))
    expect(await host.holdings()).toEqual(one)
    const endAt = new Date(Date.now() + 100).toISOString()
    expect(await server.settle(server.next('deadline', sandboxID, { endAt }))).toEqual({ status: 'done' })
    await until(async () => expect(await host.holdings()).toEqual(nothing))
  })

  it('of more than 24 days is not now', async () => {
    await server.create(sandboxID, { endAt: new Date(Date.now() + 30 * 86_400_000).toISOString() })
    await until(() => expect(server.phase(sandboxID)).toBe('running'))
    expect(await host.holdings()).toEqual(one)
  })

  it('that passed while the worker was away is kept when it is back', async () => {
    await server.create(sandboxID, { endAt: new Date(Date.now() + 300).toISOString() })
    await worker.close({ machines: 'keep' })
    await new Promise((resolve) => setTimeout(resolve, 600))
    await startAgain()
    await until(() => expect(endReports()).toMatchObject([{ event: { reason: 'timeout' } }]))
    expect(await host.holdings()).toEqual(nothing)
  })
})
