// The parent: on one machine, the father of four processes.
//
//   up ── parent (root) ─┬─ postgres     as lelantos; socket in the state folder
//                        ├─ nats-server  as lelantos; loopback, random port and token
//                        ├─ server       as lelantos; API and edge, faces the network
//                        └─ worker       as root; makes VMs, which outlive it
//
// It starts them in this order, starts again what dies, and stops them in the reverse order. It never talks to a VM.
import type { Log } from '@lelantos-ai/contract'
import { type PrivateNATS, startPrivateNATS } from '../adapters/private-nats.ts'
import { type PrivatePostgres, startPrivatePostgres } from '../adapters/private-postgres.ts'
import { type Home, homeAt } from '../home.ts'
import { LogFile } from '../log.ts'
import type {
  FromServer,
  FromWorker,
  RoleStart,
  ServerStart,
  Suspension,
  ToServer,
  ToWorker,
  WorkerStart,
} from './messages.ts'
import { keep, type Kept } from './keep.ts'
import { type RoleProcess, spawnRole } from './role-process.ts'

type Server = RoleProcess<ToServer, FromServer>
type Worker = RoleProcess<ToWorker, FromWorker>

export interface ParentOptions {
  readonly base: Omit<RoleStart, 'natsURL' | 'natsToken'>
  readonly worker: Pick<WorkerStart, 'workerID' | 'accelerator' | 'artifacts'>
  /** The system user of everything that needs no root. */
  readonly user: { readonly uid: number; readonly gid: number; readonly name: string }
  readonly log: Log
  /** Sees each line that a child logs. */
  readonly line: (line: string) => void
  readonly progress: (text: string) => void
}

export interface Parent {
  /** Where the API listens. */
  readonly port: number
  /** Resolves when the worker has its templates and takes orders. */
  readonly workerReady: Promise<void>
  /** A valid API key: the one given, if it is, else a new one. */
  apiKey(known: string | undefined): Promise<string>
  /** Brings back what the last `down` paused. */
  wake(): Promise<{ resumed: number; failed: number }>
  inspect(sandboxID: string): Promise<unknown>
  /** Treats running sandboxes as told, then stops everything in order. */
  stop(mode: Suspension, progress: (text: string) => void): Promise<{ failed: number }>
}

const STOP_MS = 20_000

export async function startParent(options: ParentOptions): Promise<Parent> {
  await using started = new AsyncDisposableStack()
  const { config } = options.base
  const home = homeAt(config.home)
  const cache = `${home.folder}/cache/compile`
  const kept = async <P extends { exited: Promise<string>; stop(): Promise<void> }>(
    name: string,
    start: () => Promise<P>,
  ): Promise<Kept<P>> => {
    const part = await keep(name, start, options.log)
    started.defer(() => part.stop())
    return part
  }

  if (config.databaseURL === undefined)
    await kept<PrivatePostgres>('postgres', () =>
      startPrivatePostgres({ folder: home.postgres, user: options.user, log: options.log }),
    )
  const nats = config.natsURL === undefined ? await kept<PrivateNATS>('nats', natsOf(options, home)) : undefined
  const bus = async () => {
    const running = await nats?.current()
    return { natsURL: config.natsURL ?? running?.url ?? '', natsToken: running?.token }
  }

  const serverStart = async (): Promise<ServerStart> => ({
    ...options.base,
    ...(await bus()),
    database:
      config.databaseURL === undefined
        ? { socketFolder: `${home.postgres}/sock`, user: options.user.name }
        : { url: config.databaseURL },
    becomes: options.user,
  })
  const workerStart = async (): Promise<WorkerStart> => ({ ...options.base, ...options.worker, ...(await bus()) })
  const files = { server: new LogFile(home.logs, 'server'), worker: new LogFile(home.logs, 'worker') }
  const role = { repository: config.repository, compileCache: cache, stopMs: STOP_MS }
  const line = (file: LogFile) => (text: string) => {
    file.write(`${text}\n`)
    options.line(text)
  }

  const workerPart = await kept<Worker>('worker', async () =>
    spawnRole<ToWorker, FromWorker>({
      ...role,
      role: 'worker',
      start: { kind: 'start', start: await workerStart() },
      stop: { kind: 'stop', machines: 'keep' },
      line: line(files.worker),
    }),
  )
  const worker = await workerPart.current()
  const workerReady = worker.expect('ready', { progress: options.progress }).then(() => {})
  workerReady.catch(() => {}) // whoever waits for it sees the failure

  let port = config.port
  const serverPart = await kept<Server>('server', async () => {
    const server = spawnRole<ToServer, FromServer>({
      ...role,
      role: 'server',
      start: { kind: 'start', start: await serverStart() },
      stop: { kind: 'stop' },
      line: line(files.server),
    })
    port = (await server.expect('ready', { progress: options.progress })).port
    return server
  })

  const parts = started.move()
  let inspections = 0
  return {
    port,
    workerReady,
    apiKey: async (known) => {
      const server = await serverPart.current()
      server.send({ kind: 'key', key: known })
      return (await server.expect('key')).key
    },
    wake: async () => {
      const server = await serverPart.current()
      server.send({ kind: 'wake' })
      return server.expect('woken')
    },
    inspect: async (sandboxID) => {
      const current = await workerPart.current()
      const request = ++inspections
      current.send({ kind: 'inspect', request, sandboxID })
      return (await current.expect('inspected', { accept: (message) => message.request === request })).found
    },
    stop: async (mode, progress) => {
      let failed = 0
      if (mode !== 'keep') {
        const server = await serverPart.current()
        server.send({ kind: 'suspend', mode })
        failed = (await server.expect('suspended', { progress })).failed
      }
      await parts.disposeAsync()
      await Promise.all([files.server.close(), files.worker.close()])
      return { failed }
    },
  }
}

/** The bus keeps its port and token while the parent lives, so that a restart of it is found again by everyone. */
function natsOf(options: ParentOptions, home: Home): () => Promise<PrivateNATS> {
  let previous: PrivateNATS | undefined
  return async () =>
    (previous = await startPrivateNATS({
      folder: home.nats,
      user: options.user,
      log: options.log,
      ...(previous === undefined ? {} : { previous }),
    }))
}
