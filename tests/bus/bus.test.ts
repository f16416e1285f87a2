// One suite for the bus and its in-process twin: whatever a caller may rely on holds for both.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type Bus, BusError, silentLog } from '@lelantos-ai/contract'
import { MemoryBus } from '@lelantos-ai/contract/bus-memory'
import { connectNATS, type NATSBus } from '@lelantos-ai/daemon/adapters/nats-bus'
import { type PrivateNATS, startPrivateNATS } from '@lelantos-ai/daemon/adapters/private-nats'

interface Buses {
  readonly sender: Bus
  readonly receiver: Bus
  close(): Promise<void>
}

const nobody = { uid: 65_534, gid: 65_534 }

async function overNATS(): Promise<Buses & { nats: PrivateNATS; sender: NATSBus; receiver: NATSBus; folder: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'lelantos-nats-'))
  const nats = await startPrivateNATS({ folder, user: nobody, log: silentLog })
  const connection = () => connectNATS({ url: nats.url, token: nats.token, name: 'test', log: silentLog })
  const [sender, receiver] = await Promise.all([connection(), connection()])
  const close = async () => {
    await sender[Symbol.asyncDispose]()
    await receiver[Symbol.asyncDispose]()
    await nats.stop()
    await rm(folder, { recursive: true })
  }
  return { sender, receiver, nats, folder, close }
}

async function inProcess(): Promise<Buses> {
  const bus = new MemoryBus()
  return { sender: bus, receiver: bus, close: async () => {} }
}

const kindOf = (request: Promise<unknown>) =>
  request.then(
    () => 'answered',
    (error: unknown) => (error instanceof BusError ? error.kind : error),
  )

describe.each([
  ['NATS', overNATS],
  ['MemoryBus', inProcess],
])('%s', (_, start) => {
  let buses: Buses
  beforeAll(async () => void (buses = await start()))
  afterAll(() => buses.close())

  it('carries a request and its reply as JSON', async () => {
    const message = { text: 'grün', list: [1, null, { a: true }], left: undefined }
    await using _reply = await buses.receiver.reply('t.echo', async (received) => ({ received }))
    expect(await buses.sender.request('t.echo', message, { timeoutMs: 2000 })).toEqual({
      received: { text: 'grün', list: [1, null, { a: true }] },
    })
  })

  it('carries nothing as nothing', async () => {
    await using _reply = await buses.receiver.reply('t.nothing', async (received) => received)
    expect(await buses.sender.request('t.nothing', undefined, { timeoutMs: 2000 })).toBeUndefined()
  })

  it('says at once that nobody answers', async () => {
    const start = performance.now()
    expect(await kindOf(buses.sender.request('t.nobody', {}, { timeoutMs: 30_000 }))).toBe('nobody')
    expect(performance.now() - start).toBeLessThan(5000)
  })

  it('forgets an answer that has been disposed of', async () => {
    {
      await using _reply = await buses.receiver.reply('t.gone', async () => 1)
      expect(await buses.sender.request('t.gone', {}, { timeoutMs: 2000 })).toBe(1)
    }
    expect(await kindOf(buses.sender.request('t.gone', {}, { timeoutMs: 2000 }))).toBe('nobody')
  })

  it('gives up at the timeout', async () => {
    const late = Promise.withResolvers<void>()
    await using _reply = await buses.receiver.reply('t.late', () => late.promise)
    expect(await kindOf(buses.sender.request('t.late', {}, { timeoutMs: 50 }))).toBe('timeout')
    late.resolve()
  })

  it('tells a failure of the receiver from silence', async () => {
    await using _reply = await buses.receiver.reply('t.fails', async () => {
      throw new Error('no room')
    })
    expect(await kindOf(buses.sender.request('t.fails', {}, { timeoutMs: 2000 }))).toBe('failed')
  })

  it('answers many requests at once, each its own', async () => {
    await using _reply = await buses.receiver.reply('t.many', async (n) => Number(n) * 2)
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, n) => buses.sender.request('t.many', n, { timeoutMs: 10_000 })),
    )
    expect(answers).toEqual(Array.from({ length: 200 }, (_, n) => n * 2))
  })

  it('shows a publication to everyone who watches, and to nobody afterwards', async () => {
    const seen: unknown[] = []
    const seenToo: unknown[] = []
    await using _watch = await buses.receiver.watch('t.news', (message) => seen.push(message))
    {
      await using _other = await buses.sender.watch('t.news', (message) => seenToo.push(message))
      buses.sender.publish('t.news', { n: 1 })
      await vi.waitFor(() => expect([seen, seenToo]).toEqual([[{ n: 1 }], [{ n: 1 }]]))
    }
    buses.sender.publish('t.news', { n: 2 })
    await vi.waitFor(() => expect(seen).toEqual([{ n: 1 }, { n: 2 }]))
    expect(seenToo).toEqual([{ n: 1 }])
  })
})

describe('NATS that dies', () => {
  it('fails what is in flight, refuses quickly, drops publications, and is found again at its old place', async () => {
    const buses = await overNATS()
    const restarted: PrivateNATS[] = []
    try {
      const never = Promise.withResolvers<void>()
      const seen: unknown[] = []
      await using _never = await buses.receiver.reply('t.never', () => never.promise)
      await using _echo = await buses.receiver.reply('t.echo', async (message) => message)
      await using _news = await buses.receiver.watch('t.news', (message) => seen.push(message))

      const inFlight = kindOf(buses.sender.request('t.never', {}, { timeoutMs: 60_000 }))
      await buses.sender.request('t.echo', 1, { timeoutMs: 2000 })
      process.kill(buses.nats.pid, 'SIGKILL')
      expect(await buses.nats.exited).toBe('SIGKILL')
      expect(await inFlight).toBe('away')
      const start = performance.now()
      expect(await kindOf(buses.sender.request('t.echo', 2, { timeoutMs: 60_000 }))).toBe('away')
      expect(performance.now() - start).toBeLessThan(500)
      buses.sender.publish('t.news', 'dropped')

      restarted.push(
        await startPrivateNATS({ folder: buses.folder, user: nobody, log: silentLog, previous: buses.nats }),
      )
      expect(restarted[0]?.url).toBe(buses.nats.url)
      const answer = () => kindOf(buses.sender.request('t.echo', 3, { timeoutMs: 1000 }))
      await vi.waitFor(async () => expect(await answer()).toBe('answered'), { timeout: 10_000, interval: 20 })
      await vi.waitFor(
        () => {
          buses.sender.publish('t.news', 'after')
          expect(seen).toContain('after')
        },
        { timeout: 10_000, interval: 20 },
      )
      expect(seen).not.toContain('dropped')
      never.resolve()
    } finally {
      for (const nats of restarted) await nats.stop()
      await buses.close()
    }
  })

  it('lets nobody in without the token', async () => {
    const buses = await overNATS()
    try {
      await expect(connectNATS({ url: buses.nats.url, token: 'wrong', name: 'test', log: silentLog })).rejects.toThrow()
    } finally {
      await buses.close()
    }
  })

  it('says why it could not be started', async () => {
    const buses = await overNATS()
    try {
      const folder = join(buses.folder, 'second')
      const start = startPrivateNATS({ folder, user: nobody, log: silentLog, previous: buses.nats })
      await expect(start).rejects.toThrow(/address already in use/)
    } finally {
      await buses.close()
    }
  })

  it('goes with its parent, even one that is killed', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'lelantos-nats-'))
    const program = `
      import { silentLog } from '@lelantos-ai/contract'
      import { startPrivateNATS } from '@lelantos-ai/daemon/adapters/private-nats'
      const user = ${JSON.stringify(nobody)}
      const nats = await startPrivateNATS({ folder: ${JSON.stringify(folder)}, user, log: silentLog })
      console.log(nats.pid)
      setInterval(() => {}, 1000)`
    const args = ['--conditions=source', '--input-type=module-typescript', '-e', program]
    const parent = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    try {
      const [line] = (await once(parent.stdout, 'data')) as [Buffer]
      const pid = Number(line.toString())
      const runs = () => existsSync(`/proc/${pid}`)
      expect(runs()).toBe(true)
      parent.kill('SIGKILL')
      await vi.waitFor(() => expect(runs()).toBe(false), { timeout: 10_000 })
    } finally {
      parent.kill('SIGKILL')
      await rm(folder, { recursive: true })
    }
  })
})
