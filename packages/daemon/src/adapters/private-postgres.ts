// The store of one machine: a PostgreSQL of our own, reached by a socket in a folder that only its user (and root) can
// enter. The distribution's program is used, its clusters are neither started nor touched.
//
//   folder/          owned by the user, 0700
//     data/          the cluster; made as data.new and renamed, so that it is whole or absent
//     sock/          the socket; 0700
//     postgres.log   what it says, as it says it
import type { ChildProcess } from 'node:child_process'
import { constants } from 'node:fs'
import {
  access,
  appendFile,
  chown,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Log } from '@lelantos-ai/contract'
import { endOf, spawnAs } from '../child.ts'

export interface PrivatePostgresOptions {
  /** Every folder above it must let the user through. */
  readonly folder: string
  /** Whom PostgreSQL runs as, which cannot be root; also the name of its superuser. */
  readonly user: { readonly uid: number; readonly gid: number; readonly name: string }
  readonly log: Log
  /** Where PostgreSQL's versions are, `15/bin/postgres` and so on. */
  readonly programs?: string
}

export interface PrivatePostgres {
  readonly socketFolder: string
  /** For `pg`: the folder as host, the user by its name, database `postgres`. */
  readonly databaseURL: string
  readonly pid: number
  /** Settles when it has ended, with words that say how. Never rejects. */
  readonly exited: Promise<string>
  /** Ends it in order: open transactions are rolled back, everything committed is on disk. */
  stop(): Promise<void>
}

const PROGRAMS = '/usr/lib/postgresql'
const READY_MS = 30_000
const STOP_MS = 10_000
/** A socket's path is limited by the kernel, its terminating zero included. */
export const SOCKET_PATH_MAX = 107

/** Of the socket that one in this folder listens on. */
export function socketPath(folder: string): string {
  return join(folder, 'sock', '.s.PGSQL.5432')
}

/**
 * Starts it, making the cluster the first time, and waits until it takes connections. Rejects, with nothing left running,
 * when PostgreSQL is not installed, its data are of a version that is not, or it is not ready in 30 s.
 */
export async function startPrivatePostgres(options: PrivatePostgresOptions): Promise<PrivatePostgres> {
  const { folder, user } = options
  const data = join(folder, 'data')
  const socketFolder = join(folder, 'sock')
  const socket = socketPath(folder)
  if (Buffer.byteLength(socket) > SOCKET_PATH_MAX)
    throw new Error(`the path of PostgreSQL's socket must be at most ${SOCKET_PATH_MAX} bytes, got ${socket}`)
  for (const path of [folder, socketFolder]) {
    await mkdir(path, { recursive: true, mode: 0o700 })
    await chown(path, user.uid, user.gid)
  }
  const version = await readVersion(data)
  const programs = await findPrograms(options.programs ?? PROGRAMS, version)
  if (version === undefined) await makeCluster(options, programs, data)
  await writeConfiguration(options, data, socketFolder)
  await endPredecessor(data)
  const postgres = await launch(options, programs, data)
  options.log.info({ pid: postgres.pid, version: programs }, 'PostgreSQL is ready')
  const databaseURL = `postgresql://${encodeURIComponent(user.name)}@/postgres?host=${encodeURIComponent(socketFolder)}`
  return { socketFolder, databaseURL, ...postgres }
}

/** Major version of the cluster that is there, `15` say. */
async function readVersion(data: string): Promise<string | undefined> {
  return (await readText(join(data, 'PG_VERSION')))?.trim()
}

/** Folder of the programs: the newest installed, or the version that the data are of. */
async function findPrograms(root: string, version: string | undefined): Promise<string> {
  const names = await readdir(root).catch(() => [])
  const versions = names.filter((name) => /^\d+$/.test(name)).sort((left, right) => Number(right) - Number(left))
  for (const name of version === undefined ? versions : [version]) {
    const programs = join(root, name, 'bin')
    const found = await access(join(programs, 'postgres'), constants.X_OK).then(
      () => true,
      () => false,
    )
    if (found) return programs
  }
  throw new Error(
    version === undefined
      ? `PostgreSQL is not installed: there is none in ${root} (Debian's package is postgresql-15)`
      : `the data are of PostgreSQL ${version}, which is not installed in ${root} (Debian's package is postgresql-${version})`,
  )
}

/** Only the user itself and root come in, and both as the superuser: whoever else got at the socket would be refused. */
async function makeCluster(options: PrivatePostgresOptions, programs: string, data: string): Promise<void> {
  const { name } = options.user
  const fresh = `${data}.new`
  await rm(fresh, { recursive: true, force: true })
  const initdb = spawnProgram(options, join(programs, 'initdb'), [
    `--pgdata=${fresh}`,
    `--username=${name}`,
    '--auth=peer',
    '--encoding=UTF8',
    '--locale=C',
    '--no-sync',
  ])
  await succeeded(`initdb of ${fresh}`, initdb)
  await writeFile(join(fresh, 'pg_hba.conf'), 'local all all peer map=installation\n')
  await writeFile(join(fresh, 'pg_ident.conf'), `installation ${name} ${name}\ninstallation root ${name}\n`)
  await appendFile(join(fresh, 'postgresql.conf'), "include 'lelantos.conf'\n")
  // All of its thousand files at once, which is faster than initdb's one after the other.
  await succeeded(`sync of ${fresh}`, spawnProgram(options, 'sync', ['-f', fresh]))
  await rename(fresh, data)
}

async function succeeded(what: string, child: ChildProcess): Promise<void> {
  const output: Buffer[] = []
  child.stdout?.on('data', (chunk: Buffer) => output.push(chunk))
  child.stderr?.on('data', (chunk: Buffer) => output.push(chunk))
  const ended = await endOf(child)
  if (ended !== 'exit code 0')
    throw new Error(`${what} ended with ${ended}: ${Buffer.concat(output).toString().trim().slice(-1000)}`)
}

/** Written at every start, since the folder may have been moved. Memory is kept small; what is committed is on disk. */
async function writeConfiguration(options: PrivatePostgresOptions, data: string, socketFolder: string): Promise<void> {
  const file = join(data, 'lelantos.conf')
  const quoted = `'${socketFolder.replaceAll("'", "''")}'`
  const lines = [
    "listen_addresses = ''",
    `unix_socket_directories = ${quoted}`,
    'unix_socket_permissions = 0700',
    'max_connections = 30',
    'shared_buffers = 32MB',
    'wal_level = minimal',
    'max_wal_senders = 0',
    'max_wal_size = 256MB',
    'max_parallel_workers = 0',
    'autovacuum_max_workers = 1',
    'jit = off',
    'fsync = on',
    'synchronous_commit = on',
    'log_checkpoints = off',
  ]
  await writeFile(file, `${lines.join('\n')}\n`, { mode: 0o600, flush: true })
  await chown(file, options.user.uid, options.user.gid)
}

/**
 * One that was left behind by a killed parent is ended first. The pid in the file is believed only if that process works
 * in this very folder: pids are reused, and PostgreSQL itself refuses to start beside any process of that number.
 */
async function endPredecessor(data: string): Promise<void> {
  const file = join(data, 'postmaster.pid')
  const pid = Number((await readText(file))?.split('\n')[0])
  if (!Number.isInteger(pid) || pid <= 0) return
  const works = async () => (await readlink(`/proc/${pid}/cwd`).catch(() => undefined)) === data
  if (!(await works())) return rm(file, { force: true })
  const started = performance.now()
  // Fast: sessions are ended. Then immediate, which is safe (the log is replayed).
  process.kill(pid, 'SIGINT')
  for (let asked = 1; await works(); await pause(20)) {
    const waited = performance.now() - started
    if (waited > 2 * STOP_MS) throw new Error(`PostgreSQL ${pid}, left in ${data}, does not end`)
    if (waited > STOP_MS && asked++ === 1) process.kill(pid, 'SIGQUIT')
  }
}

async function launch(
  options: PrivatePostgresOptions,
  programs: string,
  data: string,
): Promise<Pick<PrivatePostgres, 'pid' | 'exited' | 'stop'>> {
  const logFile = join(options.folder, 'postgres.log')
  const deadline = performance.now() + READY_MS
  for (;;) {
    const output = await open(logFile, 'a', 0o600)
    const before = (await output.stat()).size
    const child = spawnProgram(options, join(programs, 'postgres'), ['-D', data], output.fd)
    await output.close()
    const exited = endOf(child)
    const stop = async () => {
      child.kill('SIGINT')
      const immediate = setTimeout(() => child.kill('SIGQUIT'), STOP_MS)
      const last = setTimeout(() => child.kill('SIGKILL'), 2 * STOP_MS)
      await exited
      clearTimeout(immediate)
      clearTimeout(last)
    }
    const outcome = await waitUntilReady(data, child.pid ?? 0, exited, deadline)
    if (outcome === 'ready') {
      await spare(options.log, child.pid ?? 0)
      return { pid: child.pid ?? 0, exited, stop }
    }
    await stop()
    const said = (await readFile(logFile)).subarray(before).toString().trim().slice(-1000)
    // The sessions of one that was killed end by themselves, a moment after it.
    const retry = said.includes('pre-existing shared memory block') && performance.now() < deadline
    if (!retry) throw new Error(`PostgreSQL did not start (${outcome}): ${said}`)
    await pause(50)
  }
}

/** The last line of `postmaster.pid` says `ready`: what PostgreSQL's own pg_ctl waits for. */
async function waitUntilReady(data: string, pid: number, exited: Promise<string>, deadline: number): Promise<string> {
  let ended: string | undefined
  void exited.then((how) => (ended = how)) // never rejects
  for (;;) {
    const lines = (await readText(join(data, 'postmaster.pid')))?.split('\n') ?? []
    if (Number(lines[0]) === pid && lines[7]?.trim() === 'ready') return 'ready'
    if (ended !== undefined) return ended
    if (performance.now() > deadline) return `not ready in ${READY_MS} ms`
    await pause(10)
  }
}

/** When memory is short, VMs end before their store does. Only root may ask for that. */
async function spare(log: Log, pid: number): Promise<void> {
  try {
    await writeFile(`/proc/${pid}/oom_score_adj`, '-900')
  } catch (err) {
    log.debug({ err, pid }, 'PostgreSQL is not spared when memory is short')
  }
}

/** A program of PostgreSQL's as its user; it is asked to end when this process dies. */
function spawnProgram(
  { user, folder }: PrivatePostgresOptions,
  program: string,
  args: readonly string[],
  output?: number,
) {
  const stdio = ['ignore' as const, output ?? ('pipe' as const), output ?? ('pipe' as const)]
  return spawnAs({ user, atParentsDeath: 'INT', cwd: folder, stdio, env: { LC_ALL: 'C' } }, program, args)
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
