// A role's end of the channel to its parent: it is told once how to start, then what to do, and ends when it is told to or
// when the channel ends, which is how it learns that its parent is gone.
import { failureLine } from '../failure-line.ts'
import { processLog } from '../log.ts'

/** What runs in the process, once it has started. */
export interface Running<To> {
  see(message: To): Promise<void>
  stop(message?: Extract<To, { kind: 'stop' }>): Promise<void>
}

type Message = { readonly kind: string }
type Starting<To> = Extract<To, { kind: 'start' }>
type Said<From> = From | { readonly kind: 'failed'; readonly message: string }

/** Resolves with the exit code. `start` gets the first message, and a way to speak. */
export async function runRole<To extends Message, From extends Message>(
  name: string,
  start: (message: Starting<To>, say: (message: From) => void) => Promise<Running<To>>,
): Promise<number> {
  const log = processLog(name, 'info')
  const ending = Promise.withResolvers<Extract<To, { kind: 'stop' }> | undefined>()
  const first = Promise.withResolvers<Starting<To>>()
  // What is asked while the role still starts is answered once it has.
  const started = Promise.withResolvers<Running<To>>()
  started.promise.catch(() => {}) // the failure is said below
  const say = (message: Said<From>) => {
    if (process.connected) process.send?.(message)
  }
  process.on('message', (message: To) => {
    if (message.kind === 'start') first.resolve(message as Starting<To>)
    else if (message.kind === 'stop') ending.resolve(message as Extract<To, { kind: 'stop' }>)
    else {
      const seen = started.promise.then((running) => running.see(message))
      seen.catch((err: unknown) => {
        log.error({ err }, `${message.kind} failed`)
        say({ kind: 'failed', message: err instanceof Error ? err.message : String(err) })
      })
    }
  })
  process.on('disconnect', () => ending.resolve(undefined))
  // A defect that nothing catches ends the process: the parent starts it again, and state is on disk.
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, (err: unknown) => {
      log.error({ err }, `${name} has met a defect and ends`)
      process.exit(70)
    })
  }
  let running: Running<To>
  try {
    running = await start(await first.promise, say)
    started.resolve(running)
  } catch (err) {
    log.error({ err }, `${name} could not start`)
    say({ kind: 'failed', message: failureLine(err) })
    return 1
  }
  await running.stop(await ending.promise)
  return 0
}
