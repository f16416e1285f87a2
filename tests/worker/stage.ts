// A worker over a counted host, made anew for each test. Importing this file sets it up.
import { afterEach, beforeEach, vi } from 'vitest'
import { newID, type Report } from '@lelantos-ai/contract'
import type { Worker } from '@lelantos-ai/worker/worker'
import { FakeHost } from './fake-host.ts'
import { Server } from './server.ts'

export const nothing = { alive: 0, slots: 0, cgroups: 0, folders: 0, drafts: 0 }
export const one = { alive: 1, slots: 1, cgroups: 1, folders: 1, drafts: 0 }

export let host: FakeHost
export let server: Server
export let worker: Worker
export let sandboxID: string

beforeEach(async () => {
  host = await FakeHost.make()
  server = new Server()
  await server.listen()
  worker = await server.worker(host)
  await worker.ready
  sandboxID = newID('sandbox')
})

afterEach(async () => {
  host.unhang()
  await worker.close({ machines: 'keep' })
  await host.remove()
})

/** Another worker process on the same host. The one before it has been closed, or counts as killed. */
export async function startAgain(options: Parameters<Server['worker']>[1] = {}): Promise<void> {
  worker = await server.worker(host, options)
  await worker.ready
}

export async function restart(options: Parameters<Server['worker']>[1] = {}): Promise<void> {
  await worker.close({ machines: 'keep' })
  await startAgain(options)
}

export const until = (see: () => void | Promise<void>) => vi.waitFor(see, { timeout: 10_000, interval: 10 })
export const running = async () => (await host.machines())[0]
export const endReports = (): Report[] => server.reports.filter((report) => report.event.kind === 'ended')
