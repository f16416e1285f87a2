// The bus of one machine: a nats-server of our own, on the loopback, that only who has the token can talk to. It dies
// with its parent.
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, chown, mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { randomBytes } from 'node:crypto'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Log } from '@lelantos-ai/contract'
import { endOf, spawnAs } from '../child.ts'

export interface PrivateNATSOptions {
  /** Holds the configuration with the token; owned by `user`, 0700. */
  readonly folder: string
  readonly user: { readonly uid: number; readonly gid: number }
  readonly log: Log
  /** One that ran before: its port and token are kept, so that its clients find the new one. */
  readonly previous?: Pick<PrivateNATS, 'url' | 'token'>
  /** Name or path of the program. */
  readonly program?: string
}

export interface PrivateNATS {
  readonly url: string
  readonly token: string
  readonly pid: number
  /** Settles when it has ended, with words that say how. Never rejects. */
  readonly exited: Promise<string>
  /** Asks it to end, and kills it after 3 s. */
  stop(): Promise<void>
}

const READY_MS = 10_000
const STOP_MS = 3000

/** Starts it and waits until it listens. Rejects, with nothing left running, when it does not in 10 s. */
export async function startPrivateNATS(options: PrivateNATSOptions): Promise<PrivateNATS> {
  const port = options.previous === undefined ? await freePort() : Number(new URL(options.previous.url).port)
  const token = options.previous?.token ?? randomBytes(24).toString('hex')
  const configuration = await writeConfiguration(options, port, token)
  const child = spawnAs(
    { user: options.user, atParentsDeath: 'KILL', cwd: options.folder, stdio: ['ignore', 'ignore', 'pipe'] },
    options.program ?? 'nats-server',
    ['-c', configuration],
  )
  const lastLines = logLines(child.stderr, options.log)
  const exited = endOf(child)
  const stop = async () => {
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
    await exited
    clearTimeout(timer)
  }
  let ended = false
  void exited.then(() => (ended = true)) // never rejects
  try {
    const deadline = performance.now() + READY_MS
    while (!existsSync(portsFile(options.folder, child.pid ?? 0))) {
      if (ended) throw new Error(`nats-server ended (${await exited}): ${lastLines().join(' | ')}`)
      if (performance.now() > deadline) throw new Error(`nats-server did not listen on port ${port} in ${READY_MS} ms`)
      await pause(10)
    }
  } catch (error) {
    await stop()
    throw error
  }
  return { url: `nats://127.0.0.1:${port}`, token, pid: child.pid ?? 0, exited, stop }
}

async function writeConfiguration(options: PrivateNATSOptions, port: number, token: string): Promise<string> {
  await mkdir(options.folder, { recursive: true, mode: 0o700 })
  await removePortsFiles(options.folder)
  const file = join(options.folder, 'nats.conf')
  // Out of memory, the guests go first: the payload and connection limits keep this process small.
  const text = [
    `listen: "127.0.0.1:${port}"`,
    `ports_file_dir: ${JSON.stringify(options.folder)}`,
    `authorization { token: "${token}" }`,
    'max_payload: 1MB',
    'max_connections: 256',
    'max_pending: 16MB',
    '',
  ].join('\n')
  await writeFile(file, text, { mode: 0o600 })
  await chmod(file, 0o600)
  for (const path of [options.folder, file]) await chown(path, options.user.uid, options.user.gid)
  return file
}

/** A port that is free now. Another program may take it before we listen: then the start fails and is tried again with another one. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Written by the server once it listens, under its own pid: a port that answers could be another program's. */
function portsFile(folder: string, pid: number): string {
  return join(folder, `nats-server_${pid}.ports`)
}

/** A server that was killed leaves its file behind, and its pid may come again. */
async function removePortsFiles(folder: string): Promise<void> {
  for (const name of await readdir(folder)) if (name.endsWith('.ports')) await rm(join(folder, name), { force: true })
}

/** nats-server logs to standard error; the last lines explain a failed start. */
function logLines(stderr: NodeJS.ReadableStream | null, log: Log): () => readonly string[] {
  const last: string[] = []
  let rest = ''
  stderr?.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      log.debug({ part: 'nats' }, line)
      last.push(line)
      if (last.length > 5) last.shift()
    }
  })
  return () => last
}
