// E2B's wire with nothing but fetch: Connect RPC with JSON, five bytes of envelope (flags, length) before each message of a stream.
import type { Daemon } from './daemon.ts'

export type Message = Record<string, unknown>

interface CallOptions {
  readonly user?: string
  readonly headers?: Record<string, string>
  readonly signal?: AbortSignal
}

function headersOf(daemon: Daemon, options: CallOptions, contentType: string): Record<string, string> {
  return {
    'Content-Type': contentType,
    'Connect-Protocol-Version': '1',
    'X-Access-Token': daemon.token,
    ...(options.user === undefined ? {} : { Authorization: `Basic ${btoa(`${options.user}:`)}` }),
    ...options.headers,
  }
}

/** One request, one reply. An error's body is `{ code, message }`. */
export async function call(
  daemon: Daemon,
  method: string,
  message: Message,
  options: CallOptions = {},
): Promise<{ status: number; body: Message }> {
  const response = await fetch(`${daemon.url}/${method}`, {
    method: 'POST',
    headers: headersOf(daemon, options, 'application/json'),
    body: JSON.stringify(message),
  })
  return { status: response.status, body: (await response.json()) as Message }
}

function envelope(message: Message): Uint8Array<ArrayBuffer> {
  const body = new TextEncoder().encode(JSON.stringify(message))
  const framed = new Uint8Array(5 + body.length)
  new DataView(framed.buffer).setUint32(1, body.length)
  framed.set(body, 5)
  return framed
}

/** A stream of replies. Throws a `StreamError` when its trailer holds one. */
export async function* stream(
  daemon: Daemon,
  method: string,
  messages: Message | readonly Message[],
  options: CallOptions = {},
): AsyncGenerator<Message> {
  const response = await fetch(`${daemon.url}/${method}`, {
    method: 'POST',
    headers: headersOf(daemon, options, 'application/connect+json'),
    body: Buffer.concat(
      (Array.isArray(messages) ? messages : [messages]).map((message) => envelope(message as Message)),
    ),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  })
  let pending = Buffer.alloc(0)
  for await (const chunk of response.body!) {
    pending = Buffer.concat([pending, chunk])
    while (pending.length >= 5 && pending.length >= 5 + pending.readUInt32BE(1)) {
      const end = 5 + pending.readUInt32BE(1)
      const message = JSON.parse(pending.subarray(5, end).toString()) as Message
      const isTrailer = (pending[0]! & 2) !== 0
      pending = pending.subarray(end)
      if (!isTrailer) yield message
      else if (message['error'] !== undefined) throw new StreamError(message['error'] as StreamError['error'])
      else return
    }
  }
  throw new Error('the stream broke off without a trailer')
}

export class StreamError extends Error {
  readonly error: { code: string; message?: string }
  constructor(error: { code: string; message?: string }) {
    super(`${error.code}: ${error.message}`)
    this.error = error
  }
}

export interface ProcessEvent {
  readonly start?: { readonly pid: number }
  readonly data?: { readonly stdout?: string; readonly stderr?: string }
  readonly end?: {
    readonly exitCode?: number
    readonly exited?: boolean
    readonly status: string
    readonly error?: string
  }
  readonly keepalive?: object
}

/** The events of `process.Process/Start` or `/Connect`. */
export async function* events(
  daemon: Daemon,
  method: 'Start' | 'Connect',
  message: Message,
  options: CallOptions = {},
): AsyncGenerator<ProcessEvent> {
  for await (const reply of stream(daemon, `process.Process/${method}`, message, options))
    yield reply['event'] as ProcessEvent
}

/** A start request for what E2B's `commands.run` sends. */
export function shell(cmd: string, more: Message = {}): Message {
  return { process: { cmd: '/bin/bash', args: ['-l', '-c', cmd] }, stdin: false, ...more }
}

/** Everything up to the end. */
export async function gather(source: AsyncIterable<ProcessEvent>): Promise<{
  pid: number
  stdout: string
  stderr: string
  end: ProcessEvent['end']
  keepalives: number
  chunkMax: number
}> {
  const output = { stdout: [] as Buffer[], stderr: [] as Buffer[] }
  const result = { pid: 0, end: undefined as ProcessEvent['end'], keepalives: 0, chunkMax: 0 }
  let first = true
  for await (const event of source) {
    if (first && event.start === undefined) throw new Error(`the first event is ${JSON.stringify(event)}`)
    first = false
    if (event.start !== undefined) result.pid = event.start.pid
    if (event.keepalive !== undefined) result.keepalives++
    if (event.end !== undefined) result.end = event.end
    for (const name of ['stdout', 'stderr'] as const) {
      const text = event.data?.[name]
      if (text === undefined) continue
      const bytes = Buffer.from(text, 'base64')
      result.chunkMax = Math.max(result.chunkMax, bytes.length)
      output[name].push(bytes)
    }
  }
  return { ...result, stdout: Buffer.concat(output.stdout).toString(), stderr: Buffer.concat(output.stderr).toString() }
}
