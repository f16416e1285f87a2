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
import { startPrivatePostgres } from '../adapters/private-postgres.ts'
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
import { keep, type Kept, type Part } from './keep.ts'
import { type RoleProcess, spawnRole } from './role-process.ts'

type Server = RoleProcess<ToServer, FromServer>
type Worker = RoleProcess<ToWorker, FromWorker>

export interface ParentOptions {
  readonly base: Omit<RoleStart, 'natsURL' | 'natsToken'>
  readonly worker: Pick<WorkerStart, 'workerID' | 'accelerator' | 'tscKHz' | 'serverUID' | 'artifacts'>
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

/** How long a role may take to stop before it is killed, in ms. */
const STOP_MS = 20_000

/** Starts everything. Rejects, with nothing left running, when a part cannot be started for the first time. */
export async function startParent(options: ParentOptions): Promise<Parent> {
  await using started = new AsyncDisposableStack()
  const { config } = options.base
  const home = homeAt(config.home)
  const kept = async <P extends Part>(name: string, start: () => Promise<P>): Promise<Kept<P>> => {
    const part = await keep(name, start, options.log)
    started.defer(() => part.stop())
    return part
  }
  const logs = { server: new LogFile(home.logs, 'server'), worker: new LogFile(home.logs, 'worker') }
  if (config.databaseURL === undefined)
    await kept('postgres', () => startPrivatePostgres({ folder: home.postgres, user: options.user, log: options.log }))
  const nats = config.natsURL === undefined ? await kept('nats', natsOf(options, home)) : undefined
  const bus = async (): Promise<BusAddress> => {
    const running = await nats?.current()
    return { natsURL: config.natsURL ?? running?.url ?? '', natsToken: running?.token }
  }
  const workers = await kept('worker', async () => workerProcess(options, logs.worker, await bus()))
  const workerReady = (await workers.current()).expect('ready', { progress: options.progress }).then(() => {})
  workerReady.catch(() => {}) // whoever waits for it sees the failure
  let port = config.port
  const servers = await kept('server', async () => {
    const server = serverProcess(options, logs.server, home, await bus())
    port = (await server.expect('ready', { progress: options.progress })).port
    return server
  })

  const parts = started.move()
  return {
    port,
    workerReady,
    ...requests(servers, workers),
    stop: async (mode, progress) => {
      const failed = mode === 'keep' ? 0 : await suspend(await servers.current(), mode, progress)
      await parts.disposeAsync()
      await Promise.all([logs.server.close(), logs.worker.close()])
      return { failed }
    },
  }
}

/** What the parent asks of its roles on behalf of `up` and `inspect`. */
function requests(servers: Kept<Server>, workers: Kept<Worker>): Pick<Parent, 'apiKey' | 'wake' | 'inspect'> {
  let inspections = 0
  return {
    apiKey: async (known) => {
      const server = await servers.current()
      server.send({ kind: 'key', key: known })
      return (await server.expect('key')).key
    },
    wake: async () => {
      const server = await servers.current()
      server.send({ kind: 'wake' })
      return server.expect('woken')
    },
    inspect: async (sandboxID) => {
      const worker = await workers.current()
      const request = ++inspections
      worker.send({ kind: 'inspect', request, sandboxID })
      return (await worker.expect('inspected', { accept: (message) => message.request === request })).found
    },
  }
}

async function suspend(server: Server, mode: 'pause' | 'kill', progress: (text: string) => void): Promise<number> {
  server.send({ kind: 'suspend', mode })
  return (await server.expect('suspended', { progress })).failed
}

interface BusAddress {
  readonly natsURL: string
  readonly natsToken: string | undefined
}

function serverProcess(options: ParentOptions, file: LogFile, home: Home, bus: BusAddress): Server {
  const { databaseURL } = options.base.config
  const start: ServerStart = {
    ...options.base,
    ...bus,
    database:
      databaseURL === undefined
        ? { socketFolder: `${home.postgres}/sock`, user: options.user.name }
        : { url: databaseURL },
    becomes: options.user,
  }
  return spawnRole<ToServer, FromServer>({
    ...common(options, file),
    role: 'server',
    start: { kind: 'start', start },
    stop: { kind: 'stop' },
  })
}

function workerProcess(options: ParentOptions, file: LogFile, bus: BusAddress): Worker {
  const start: WorkerStart = { ...options.base, ...options.worker, ...bus }
  return spawnRole<ToWorker, FromWorker>({
    ...common(options, file),
    role: 'worker',
    start: { kind: 'start', start },
    stop: { kind: 'stop', machines: 'keep' },
  })
}

function common({ base, line }: ParentOptions, file: LogFile) {
  return {
    repository: base.config.repository,
    compileCache: `${base.config.home}/cache/compile`,
    stopMs: STOP_MS,
    line: (text: string) => {
      file.write(`${text}\n`)
      line(text)
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
