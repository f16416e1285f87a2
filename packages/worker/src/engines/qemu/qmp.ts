// QEMU's control socket: one JSON object per line, a greeting first, then replies matched by id, events in between. QEMU
// takes one client at a time, so a connection is made once per machine and never again after it is lost: a leftover retry
// would take the place of the next one.
import { type FileHandle, open } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { basename, dirname } from 'node:path'
import { EngineError } from '../engine.ts'

export interface QmpEvent {
  readonly event: string
  readonly data: Readonly<Record<string, unknown>>
}

interface Waiting {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: EngineError) => void
  readonly timer: NodeJS.Timeout
}

/** A VMM that was broken into may send anything: a longer line ends the connection. */
const LINE_BYTES_MAX = 4_194_304
const COMMAND_MS_MAX = 10_000

export class Qmp {
  readonly #socket: Socket
  readonly #waiting = new Map<number, Waiting>()
  readonly #listeners = new Set<(event: QmpEvent) => void>()
  #greeted: (() => void) | undefined
  #version = ''
  #text = ''
  #nextID = 1
  /** Settles when the connection has ended, whoever ended it. */
  readonly closed: Promise<void>

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setEncoding('utf8')
    socket.on('data', (text: string) => this.#receive(text))
    // The reason is of no use: a lost connection is a machine that is gone or about to be.
    socket.on('error', () => {})
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        for (const waiting of this.#waiting.values()) {
          clearTimeout(waiting.timer)
          waiting.reject(new EngineError('the control socket is closed'))
        }
        this.#waiting.clear()
        resolve()
      })
    })
  }

  /**
   * Connects, reads the greeting and agrees on capabilities. Rejects with `EngineError` after `deadlineMs`, and with the
   * system's error (ENOENT, ECONNREFUSED) where nobody listens yet.
   */
  static async connect(path: string, deadlineMs: number): Promise<Qmp> {
    const qmp = new Qmp(await connectSocket(path))
    const greeting = new Promise<void>((resolve) => {
      qmp.#greeted = resolve
    })
    const timer = setTimeout(() => qmp.close(), deadlineMs)
    try {
      const greeted = await Promise.race([greeting.then(() => true), qmp.closed.then(() => false)])
      if (!greeted) throw new EngineError(`no greeting on the control socket within ${deadlineMs} ms`)
      await qmp.execute('qmp_capabilities', {}, deadlineMs)
      return qmp
    } catch (error) {
      qmp.close()
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  /** Of the QEMU that answers, `10.0.2`: it may be older than the file that it was started from. */
  get version(): string {
    return this.#version
  }

  /** Rejects with `EngineError` when QEMU refuses, when the connection ends, or after `deadlineMs`; a reply that comes later is dropped. */
  execute(command: string, args: object = {}, deadlineMs: number = COMMAND_MS_MAX): Promise<unknown> {
    const id = this.#nextID++
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) {
        reject(new EngineError(`${command}: the control socket is closed`))
        return
      }
      const timer = setTimeout(() => {
        this.#waiting.delete(id)
        reject(new EngineError(`${command}: no reply within ${deadlineMs} ms`))
      }, deadlineMs)
      const fail = (error: EngineError) => reject(new EngineError(`${command}: ${error.message}`))
      this.#waiting.set(id, { resolve, reject: fail, timer })
      this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`)
    })
  }

  /** Calls the listener for each event until the function it returns is called. */
  onEvent(listener: (event: QmpEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  close(): void {
    this.#socket.destroy()
  }

  #receive(text: string): void {
    this.#text += text
    for (let end = this.#text.indexOf('\n'); end >= 0; end = this.#text.indexOf('\n')) {
      const line = this.#text.slice(0, end)
      this.#text = this.#text.slice(end + 1)
      if (line.trim() !== '') this.#message(line)
    }
    if (this.#text.length > LINE_BYTES_MAX) this.close()
  }

  #message(line: string): void {
    let message: Record<string, unknown>
    try {
      message = JSON.parse(line) as Record<string, unknown>
    } catch {
      this.close()
      return
    }
    if (typeof message['event'] === 'string') {
      const event = { event: message['event'], data: (message['data'] ?? {}) as Record<string, unknown> }
      for (const listener of this.#listeners) listener(event)
      return
    }
    if ('QMP' in message) {
      this.#version = versionOf(message['QMP'])
      this.#greeted?.()
      return
    }
    const waiting = this.#waiting.get(message['id'] as number)
    if (!waiting) return
    this.#waiting.delete(message['id'] as number)
    clearTimeout(waiting.timer)
    const error = message['error'] as { desc?: string } | undefined
    if (error) waiting.reject(new EngineError(String(error.desc ?? 'refused without a reason')))
    else waiting.resolve(message['return'])
  }
}

function versionOf(greeting: unknown): string {
  const { major, minor, micro } = (greeting as { version?: { qemu?: Record<string, number> } }).version?.qemu ?? {}
  return `${major}.${minor}.${micro}`
}

/** A socket's path has at most 107 bytes, a folder's may have more: the socket is reached through a descriptor of its folder. */
async function connectSocket(path: string): Promise<Socket> {
  const folder: FileHandle = await open(dirname(path), 'r')
  try {
    return await new Promise((resolve, reject) => {
      const socket = connect(`/proc/self/fd/${folder.fd}/${basename(path)}`)
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(socket)
      })
    })
  } finally {
    await folder.close()
  }
}
