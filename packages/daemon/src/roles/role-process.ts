// A role (server, worker) in a Node process of its own: a session of its own, so that Ctrl-C reaches only the parent, and a
// message channel, whose end tells the role that its parent is gone.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { endOf } from '../child.ts'
import type { Part } from './keep.ts'

export interface RoleProcess<To, From> extends Part {
  readonly pid: number
  send(message: To): void
  /** Waits for a message. Rejects when the process ends first, or says that it failed. */
  expect<K extends Messages<From>['kind']>(
    kind: K,
    options?: { progress?: (text: string) => void; accept?: (message: Extract<From, { kind: K }>) => boolean },
  ): Promise<Extract<From, { kind: K }>>
}

type Messages<From> = Extract<From, { kind: string }>

interface Spawning<To> {
  readonly role: 'server' | 'worker'
  readonly repository: string
  readonly compileCache: string
  readonly start: To
  readonly stop: To
  /** How long `stop` may take before the process is killed, in ms. */
  readonly stopMs: number
  readonly line: (line: string) => void
}

export function spawnRole<To extends object, From extends { kind: string }>(
  options: Spawning<To>,
): RoleProcess<To, From> {
  const main = join(options.repository, 'packages/daemon/src/main.ts')
  const child = spawn(
    process.execPath,
    ['--conditions=source', '--disable-warning=ExperimentalWarning', main, 'role', options.role],
    {
      cwd: '/',
      detached: true,
      env: {
        PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        NODE_COMPILE_CACHE: options.compileCache,
        NODE_ENV: 'production',
      },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    },
  )
  const exited = endOf(child)
  for (const stream of [child.stdout, child.stderr])
    if (stream !== null) createInterface({ input: stream }).on('line', options.line)
  const send = (message: To) => {
    if (child.connected) child.send(message, () => {}) // an error means that it is ending, which `exited` tells
  }
  send(options.start)
  return {
    pid: child.pid ?? -1,
    exited,
    send,
    expect: (kind, { progress, accept } = {}) =>
      new Promise((resolve, reject) => {
        const settle = (act: () => void) => {
          child.off('message', see)
          act()
        }
        const see = (message: From & { text?: string; message?: string }) => {
          if (message.kind === 'progress') progress?.(message.text ?? '')
          else if (message.kind === 'failed') settle(() => reject(new Error(`${options.role}: ${message.message}`)))
          else if (message.kind === kind) {
            const expected = message as unknown as Extract<From, { kind: typeof kind }>
            if (accept === undefined || accept(expected)) settle(() => resolve(expected))
          }
        }
        child.on('message', see)
        void exited.then((how) => settle(() => reject(new Error(`the ${options.role} ended (${how})`))))
      }),
    stop: async () => {
      send(options.stop)
      const timer = setTimeout(() => child.kill('SIGKILL'), options.stopMs)
      await exited
      clearTimeout(timer)
    },
  }
}
