// The server's process: API, edge and reconcilers. It starts as root, so that it can read a checkout that only root can,
// and gives that up before it opens a socket: from then on it is the system user, without a capability.
import { openContext } from '@lelantos-ai/server/context'
import { createListener } from '@lelantos-ai/server/http/listener'
import { startControlPlane } from '@lelantos-ai/server/reconcilers/control-plane'
import { suspendAll } from '@lelantos-ai/server/sandboxes/suspend'
import { wakeAll } from '@lelantos-ai/server/sandboxes/wake'
import { openStore } from '@lelantos-ai/server/store/store'
import { firstKey } from '@lelantos-ai/server/keys/keys'
import { connectNATS } from '../adapters/nats-bus.ts'
import { processLog } from '../log.ts'
import { runRole } from './channel.ts'
import type { FromServer, ServerStart, ToServer } from './messages.ts'

/** Bounds how long `down` waits for running sandboxes to be written out, all of them together, in ms. */
const SUSPEND_MS = 600_000

/** The role. Resolves with the exit code once it has been told to stop, or its parent is gone. */
export function server(): Promise<number> {
  return runRole<ToServer, FromServer>('server', async ({ start }, say) => {
    await using opened = new AsyncDisposableStack()
    const { config } = start
    const log = processLog('server', config.logLevel)
    becomeUser(start)
    const { context, port } = await open(start, log, opened)
    say({ kind: 'ready', port })
    const parts = opened.move()
    log.info({ port, host: config.host }, 'the API listens')
    return {
      see: async (message) => {
        if (message.kind === 'key') {
          say({ kind: 'key', key: await firstKey(context, message.key) })
        } else if (message.kind === 'suspend') {
          const { failed } = await suspendAll(context, {
            mode: message.mode,
            deadlineMs: SUSPEND_MS,
            onProgress: ({ done, total }) =>
              say({
                kind: 'progress',
                text: `${message.mode === 'pause' ? 'paused' : 'killed'} ${done} of ${total} sandboxes`,
              }),
          })
          say({ kind: 'suspended', failed })
        } else if (message.kind === 'wake') {
          say({ kind: 'woken', ...(await wakeAll(context)) })
        }
      },
      stop: () => parts.disposeAsync(),
    }
  })
}

async function open(start: ServerStart, log: ReturnType<typeof processLog>, opened: AsyncDisposableStack) {
  const store = opened.use(await openStore(start.database, log))
  const bus = opened.use(await connectNATS({ url: start.natsURL, token: start.natsToken, name: 'server', log }))
  const context = openContext({
    store,
    bus,
    log,
    clock: () => new Date(),
    installation: start.installation,
    installationKey: Buffer.from(start.installationKey, 'hex'),
    domain: start.config.domain,
  })
  opened.use(await startControlPlane(context))
  const listener = await createListener({
    context,
    host: start.config.host,
    port: start.config.port,
    version: start.version,
  })
  opened.defer(() => listener.close())
  return { context, port: listener.port }
}

/** From root to the system user, for good: groups first, since without root they cannot be changed. */
function becomeUser({ becomes }: ServerStart): void {
  if (process.getuid?.() !== 0) return
  process.setgroups?.([])
  process.setgid?.(becomes.gid)
  process.setuid?.(becomes.uid)
  if (process.getuid?.() !== becomes.uid) throw new Error('the server could not give up root')
}
