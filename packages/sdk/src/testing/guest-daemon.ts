// The guest daemon of the wire server: Process.Start and its companions with real processes, files in a folder.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { basename, dirname, join } from 'node:path'
import { encodeEnvelope } from '../envd/envelope.ts'
import { type Recorded, sendJSON } from './wire-server.ts'

interface StartRequest {
  process: { cmd: string; args: string[]; envs?: Record<string, string>; cwd?: string }
  stdin?: boolean
}

export class GuestDaemon {
  /** The longest piece of output in one message; 1 cuts every character that has more bytes. */
  dataBytes = 32_768
  /** User names of the Start calls, in order. */
  readonly users: string[] = []
  readonly #folder: string
  readonly #processes = new Map<number, ChildProcess>()

  constructor(folder: string) {
    this.#folder = folder
  }

  get running(): number {
    return this.#processes.size
  }

  killAll(): void {
    for (const pid of this.#processes.keys()) signalGroup(pid, 'SIGKILL')
  }

  async answer(request: Recorded, response: ServerResponse, token: string): Promise<void> {
    if (request.headers['x-access-token'] !== token) {
      return sendJSON(response, 401, { code: 'unauthenticated', message: 'the access token is not valid' })
    }
    const [, service, method = ''] = request.path.split('/')
    if (service === 'files') return this.#files(request, response)
    if (service === 'filesystem.Filesystem') return this.#fileSystem(method, request, response)
    if (method === 'Start') return this.#start(request, response)
    const message = JSON.parse(request.body.toString()) as {
      process: { pid: number }
      signal?: string
      input?: { stdin: string }
    }
    const { pid } = message.process
    const child = this.#processes.get(pid)
    if (child === undefined) return connectError(response, 404, 'not_found', `process with pid ${pid} not found`)
    if (method === 'SendSignal') signalGroup(pid, (message.signal ?? '').replace('SIGNAL_', '') as NodeJS.Signals)
    if (method === 'CloseStdin') child.stdin?.end()
    if (method === 'SendInput') {
      const bytes = Buffer.from(message.input?.stdin ?? '', 'base64')
      await new Promise<void>((resolve) => child.stdin?.write(bytes, () => resolve()))
    }
    sendJSON(response, 200, {})
  }

  #start(request: Recorded, response: ServerResponse): void {
    this.users.push(Buffer.from((request.headers.authorization ?? '').replace('Basic ', ''), 'base64').toString())
    const start = JSON.parse(request.body.subarray(5).toString()) as StartRequest
    const child = spawn(start.process.cmd, start.process.args, {
      cwd: start.process.cwd ?? this.#folder,
      env: { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: this.#folder, ...start.process.envs },
      stdio: [start.stdin ? 'pipe' : 'ignore', 'pipe', 'pipe'],
      // A group of its own, so that a signal reaches what a shell has started.
      detached: true,
    })
    response.writeHead(200, { 'Content-Type': 'application/connect+json' })
    const send = (event: object) => response.write(encodeEnvelope({ event }))
    const end = (trailer: object) => {
      const bytes = encodeEnvelope(trailer)
      bytes[0] = 2
      response.end(bytes)
    }
    child.on('error', (error) => end({ error: { code: 'invalid_argument', message: error.message } }))
    child.stdin?.on('error', () => {})
    const { pid } = child
    if (pid === undefined) return
    this.#processes.set(pid, child)
    send({ start: { pid } })
    const limit = Number(request.headers['connect-timeout-ms'] ?? 0)
    let late = false
    const expire = () => {
      late = true
      signalGroup(pid, 'SIGKILL')
    }
    const timer = limit > 0 ? setTimeout(expire, limit) : undefined
    for (const name of ['stdout', 'stderr'] as const) {
      child[name]?.on('data', (bytes: Buffer) => {
        for (let n = 0; n < bytes.length; n += this.dataBytes) {
          send({ data: { [name]: bytes.subarray(n, n + this.dataBytes).toString('base64') } })
        }
      })
    }
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      this.#processes.delete(pid)
      if (late) return end({ error: { code: 'deadline_exceeded', message: 'the deadline has passed' } })
      const words: Partial<Record<NodeJS.Signals, string>> = { SIGKILL: 'killed', SIGTERM: 'terminated' }
      send({
        end: signal
          ? { exitCode: -1, status: `signal: ${words[signal]}` }
          : { ...(code ? { exitCode: code } : {}), exited: true },
      })
      end({})
    })
  }

  #files(request: Recorded, response: ServerResponse): void {
    const path = request.query.get('path') ?? ''
    const file = this.#inside(path)
    if (request.method === 'POST') {
      mkdirSync(dirname(file), { recursive: true })
      if (statSync(file, { throwIfNoEntry: false })?.isDirectory()) {
        return sendJSON(response, 400, { code: 400, message: `path '${path}' is a directory` })
      }
      writeFileSync(file, request.body)
      return sendJSON(response, 200, [{ name: basename(path), path, type: 'file' }])
    }
    try {
      const bytes = readFileSync(file)
      response.writeHead(200, { 'Content-Type': 'application/octet-stream', 'Content-Length': bytes.length })
      response.end(bytes)
    } catch {
      sendJSON(response, 404, { code: 404, message: `path '${path}' does not exist` })
    }
  }

  #fileSystem(method: string, request: Recorded, response: ServerResponse): void {
    const message = JSON.parse(request.body.toString()) as { path: string; source: string; destination: string }
    try {
      if (method === 'ListDir') {
        const names = readdirSync(this.#inside(message.path))
        return sendJSON(response, 200, { entries: names.map((name) => this.#entry(join(message.path, name))) })
      }
      if (method === 'MakeDir') mkdirSync(this.#inside(message.path))
      if (method === 'Remove') {
        rmSync(this.#inside(message.path), { recursive: true })
        return sendJSON(response, 200, {})
      }
      if (method === 'Move') renameSync(this.#inside(message.source), this.#inside(message.destination))
      sendJSON(response, 200, { entry: this.#entry(message.path ?? message.destination) })
    } catch (error) {
      const exists = (error as NodeJS.ErrnoException).code === 'EEXIST'
      connectError(response, exists ? 409 : 404, exists ? 'already_exists' : 'not_found', (error as Error).message)
    }
  }

  #entry(path: string): object {
    const { size, mode, mtime } = statSync(this.#inside(path))
    const type = statSync(this.#inside(path)).isDirectory() ? 'FILE_TYPE_DIRECTORY' : 'FILE_TYPE_FILE'
    return {
      name: basename(path),
      path,
      type,
      size: String(size),
      mode,
      owner: 'root',
      modifiedTime: mtime.toISOString(),
    }
  }

  #inside(path: string): string {
    return join(this.#folder, path)
  }
}

function connectError(response: ServerResponse, status: number, code: string, message: string): void {
  sendJSON(response, status, { code, message })
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal)
  } catch {
    // it has ended by itself
  }
}
