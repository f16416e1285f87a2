// The daemon in a guest, over its HTTP routes on port 49983. Right after a restore the first packets may be lost, so
// connections are tried side by side (`request.ts`) until the caller's deadline.
import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { limits } from '@lelantos-ai/contract'
import { type Guest, GuestError } from './guest.ts'
import { type GuestReply, type GuestRequest, requestGuest } from './request.ts'

/** Grows with each attempt: a guest on a busy host may need longer than the first ones allow. */
const REPLY_MS = { first: 2000, longest: 20_000 }
const RETRY_MS = 5
/** A clock set by a message that took no longer is right within `limits.clockToleranceMs`. */
const ON_TIME_MS = limits.clockToleranceMs
const CLOCK_ATTEMPTS = 5

/** What people run first in a sandbox. A language that an image lacks is no failure: the shell says 127 and that is all. */
const EXERCISES = [
  'echo',
  'python3 -c "import json"',
  'node -e 0',
  'git --version',
  'ls / && cat /etc/os-release',
  'echo',
]
const EXERCISE_MS = 60_000
const TEXT_LENGTH = 300

export const httpGuest: Guest = {
  async init(address, secret, init, signal) {
    const body = () => ({ ...init, entropy: randomBytes(32).toString('base64') })
    const tookMs = await control(address, { secret, body }, signal)
    if (tookMs > ON_TIME_MS) await settleClock(address, secret, signal)
  },

  async setClock(address, secret, signal) {
    await settleClock(address, secret, signal)
  },

  async healthy(address, signal) {
    expect(await untilReached(address, { method: 'GET', path: '/health' }, signal), 'GET /health', 204)
  },

  async exercise(address, accessToken, signal) {
    const headers = { 'x-access-token': accessToken }
    for (const cmd of EXERCISES) {
      const body = () => json({ method: 'exec', params: { cmd, user: 'root' } })
      const timing = { replyMs: EXERCISE_MS }
      const reply = await untilReached(address, { method: 'POST', path: '/rpc', headers, body, ...timing }, signal)
      expect(reply, `POST /rpc of ${cmd}`, 200)
      await startProcess(address, { cmd, headers }, signal)
    }
    const sync = () => json({ method: 'exec', params: { cmd: 'sync', user: 'root' } })
    const reply = await untilReached(
      address,
      { method: 'POST', path: '/rpc', headers, body: sync, replyMs: EXERCISE_MS },
      signal,
    )
    expect(reply, 'POST /rpc of sync', 200)
  },
}

/**
 * Sends the time until a message that carried it was answered so soon that it cannot have been old when it was read. The
 * first one after a restore often is: the guest, or a busy host, took its time.
 */
async function settleClock(address: string, secret: string, signal: AbortSignal): Promise<void> {
  for (let attempt = 0; attempt < CLOCK_ATTEMPTS; attempt++) {
    if ((await control(address, { secret, body: () => ({}) }, signal)) <= ON_TIME_MS) return
  }
}

/** Sends `/init` with the time. Resolves with the milliseconds between the reading of the clock and the guest's answer. */
async function control(
  address: string,
  { secret, body }: { secret: string; body: () => object },
  signal: AbortSignal,
): Promise<number> {
  let read = 0
  const stamped = () => {
    const content = body()
    read = performance.now()
    return json({ ...content, timestamp: new Date().toISOString() })
  }
  const headers = { 'x-control-secret': secret }
  const reply = await untilReached(address, { method: 'POST', path: '/init', headers, body: stamped }, signal)
  expect(reply, 'POST /init', 204)
  return performance.now() - read
}

/** The way the SDKs run commands: a stream of Connect envelopes (a flags byte, a length of four, JSON). */
async function startProcess(
  address: string,
  { cmd, headers }: { cmd: string; headers: Readonly<Record<string, string>> },
  signal: AbortSignal,
): Promise<void> {
  const message = Buffer.from(JSON.stringify({ process: { cmd: '/bin/bash', args: ['-l', '-c', cmd] } }))
  const envelope = Buffer.alloc(5)
  envelope.writeUInt32BE(message.length, 1)
  const content = Buffer.concat([envelope, message])
  const reply = await untilReached(
    address,
    {
      method: 'POST',
      path: '/process.Process/Start',
      headers: { ...headers, 'connect-protocol-version': '1', authorization: `Basic ${btoa('user:')}` },
      body: () => ({ type: 'application/connect+json', content }),
      replyMs: EXERCISE_MS,
    },
    signal,
  )
  expect(reply, `Start of ${cmd}`, 200)
}

type Repeated = Omit<GuestRequest, 'replyMs'> & { readonly replyMs?: number }

/** Tries until the guest has answered. Every request here may be repeated: the routes are idempotent. */
async function untilReached(address: string, wanted: Repeated, signal: AbortSignal): Promise<GuestReply> {
  let last: unknown
  for (let attempt = 1; ; attempt++) {
    const replyMs = wanted.replyMs ?? Math.min(REPLY_MS.first * attempt, REPLY_MS.longest)
    try {
      return await requestGuest(address, { ...wanted, replyMs }, signal)
    } catch (error) {
      if (signal.aborted)
        throw new GuestError(`the guest did not answer ${wanted.method} ${wanted.path}`, { cause: last ?? error })
      if (error instanceof GuestError) throw error
      last = error
      await pause(RETRY_MS)
    }
  }
}

function expect(reply: GuestReply, what: string, status: number): void {
  if (reply.status === status) return
  // What a guest says ends up in a log: it is cut, and has no control characters.
  const text = reply.body.toString('utf8', 0, TEXT_LENGTH).replace(/[^\x20-\x7e]/g, ' ')
  throw new GuestError(`the guest answered ${what} with ${reply.status}: ${text}`)
}

function json(value: object): { type: string; content: string } {
  return { type: 'application/json', content: JSON.stringify(value) }
}
