// Starts QEMU: as the slot's user without any right, in the slot's network namespace, in the machine's cgroup, with a mount
// namespace of its own in which alone /dev/net/tun may be opened by it. It has its own session and is never waited for as
// a child. Every program on the way ends in exec, so the pid that Node returns is QEMU's.
import { spawn } from 'node:child_process'
import { chmod, chown, type FileHandle, mkdir, open } from 'node:fs/promises'
import { join } from 'node:path'
import { identify, isAlive, killAndWait, type ProcessIdentity } from '../../host/process.ts'
import { EngineError, type Place } from '../engine.ts'
import type { Accelerator } from './command-line.ts'
import { Qmp } from './qmp.ts'

export interface Launch {
  /** Absolute path of QEMU. */
  readonly binary: string
  readonly args: readonly string[]
  readonly accelerator: Accelerator
  readonly place: Place
  /** Opened for reading, from descriptor 3 on; `append` is opened for writing. */
  readonly inherited: readonly ({ readonly read: string } | { readonly append: string } | undefined)[]
  readonly deadlineMs: number
  readonly signal: AbortSignal
}

export interface Launched {
  readonly process: ProcessIdentity
  readonly qmp: Qmp
}

/** Folder in the machine's that belongs to QEMU's user: its working folder. The names of all other files are root's. */
export const runFolder = 'run'
export const socketName = 'qmp'
const logName = 'vmm.log'

// Arguments up to `--` are cgroup folders. A core dump would hold the guest's memory.
const PREPARE = `set -e
while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs"; shift; done
shift
echo 500 > /proc/$$/oom_score_adj
ulimit -c 0
mkdir -p /dev/net
mount -t tmpfs -o size=64k,mode=755 none /dev/net
mknod -m 666 /dev/net/tun c 10 200
`
const PREPARE_KVM = `mknod -m 666 /dev/net/kvm c 10 232
mount --bind /dev/net/kvm /dev/kvm
`
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** The machine's folder as QEMU needs it: its user reaches the files in it by name, but only `run` is its own. */
export async function prepareFolder(folder: string, uid: number): Promise<void> {
  await mkdir(join(folder, runFolder), { mode: 0o700 })
  await chown(join(folder, runFolder), uid, uid)
  await chown(folder, 0, uid)
  await chmod(folder, 0o710)
}

/** Resolves once QEMU answers on its control socket. On any failure, and on abort, nothing is left running. */
export async function launch(what: Launch): Promise<Launched> {
  what.signal.throwIfAborted()
  const process = await start(what)
  try {
    return { process, qmp: await connectWhenUp(what, process) }
  } catch (error) {
    await killAndWait(process)
    throw error
  }
}

/** QEMU's own last words, for the error of a start that failed. */
export async function lastWords(folder: string): Promise<string> {
  const log = await open(join(folder, logName), 'r').catch(() => undefined)
  if (!log) return ''
  try {
    const { size } = await log.stat()
    const { buffer, bytesRead } = await log.read(Buffer.alloc(2000), 0, 2000, Math.max(0, size - 2000))
    return buffer.toString('utf8', 0, bytesRead).trim().split('\n').slice(-5).join(' | ')
  } finally {
    await log.close()
  }
}

async function start(what: Launch): Promise<ProcessIdentity> {
  const { place } = what
  const { uid, netns } = place.slot
  const files: (FileHandle | undefined)[] = []
  try {
    const log = await open(join(place.folder, logName), 'a', 0o600)
    files.push(log)
    for (const file of what.inherited) {
      if (!file) files.push(undefined)
      else files.push(await ('read' in file ? open(file.read, 'r') : open(file.append, 'a', 0o600)))
    }
    const words = [
      ['nsenter', `--net=/run/netns/${netns}`, 'unshare', '--mount', 'sh', '-c'],
      `${PREPARE}${what.accelerator === 'kvm' ? PREPARE_KVM : ''}exec "$@"`,
      ['sh', ...place.cgroups, '--'],
      ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--no-new-privs'],
      ['--bounding-set=-all', '--inh-caps=-all', what.binary, ...what.args],
    ].flat()
    const child = spawn(words[0] ?? '', words.slice(1), {
      cwd: join(place.folder, runFolder),
      env: { PATH },
      detached: true,
      stdio: ['ignore', log.fd, log.fd, ...files.slice(1).map((file) => file?.fd ?? ('ignore' as const))],
    })
    child.unref()
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve)
      child.once('error', reject)
    })
    const identity = identify(child.pid ?? 0)
    if (!identity) throw new EngineError(`QEMU ended at once: ${await lastWords(place.folder)}`)
    return identity
  } finally {
    for (const file of files) await file?.close()
  }
}

async function connectWhenUp(what: Launch, process: ProcessIdentity): Promise<Qmp> {
  const socket = join(what.place.folder, runFolder, socketName)
  const deadline = performance.now() + what.deadlineMs
  for (;;) {
    what.signal.throwIfAborted()
    if (!isAlive(process)) throw new EngineError(`QEMU ended while starting: ${await lastWords(what.place.folder)}`)
    const leftMs = deadline - performance.now()
    if (leftMs <= 0) {
      throw new EngineError(`QEMU did not come up within ${what.deadlineMs} ms: ${await lastWords(what.place.folder)}`)
    }
    try {
      return await Qmp.connect(socket, leftMs)
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      // Not there yet; anything else (an end in the middle of the greeting) shows at the next turn as well.
      if (code !== 'ENOENT' && code !== 'ECONNREFUSED' && isAlive(process) && !(error instanceof EngineError))
        throw error
    }
    await new Promise<void>((resolve) => setTimeout(resolve, 2))
  }
}
