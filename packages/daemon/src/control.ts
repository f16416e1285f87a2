// The parent's control socket: how `down` and `inspect` reach a running installation. One request a connection, JSON lines
// both ways; only root can open it (run/ is 0700).
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { createInterface } from 'node:readline'
import type { Suspension } from './roles/messages.ts'

export type ControlRequest =
  | { readonly verb: 'status' }
  | { readonly verb: 'down'; readonly mode: Suspension }
  | { readonly verb: 'inspect'; readonly sandboxID: string }

type ControlReply =
  | { readonly kind: 'progress'; readonly text: string }
  | { readonly kind: 'done'; readonly value?: unknown }
  | { readonly kind: 'failed'; readonly message: string }

export type Answer = (request: ControlRequest, progress: (text: string) => void) => Promise<unknown>

export async function serveControl(path: string, answer: Answer): Promise<Server> {
  await rm(path, { force: true }) // of a parent that is gone: the parent's lock is ours
  const server = createServer((socket) => {
    socket.on('error', () => {}) // who asked has left
    const say = (reply: ControlReply) => void socket.write(`${JSON.stringify(reply)}\n`)
    createInterface({ input: socket, crlfDelay: Number.POSITIVE_INFINITY }).once('line', (line) => {
      void (async () => {
        try {
          const request = JSON.parse(line) as ControlRequest
          const value = await answer(request, (text) => say({ kind: 'progress', text }))
          say({ kind: 'done', value })
        } catch (error) {
          say({ kind: 'failed', message: error instanceof Error ? error.message : String(error) })
        }
        socket.end()
      })()
    })
  })
  server.listen(path)
  await once(server, 'listening')
  return server
}

/** Asks a running parent. Rejects with `NotRunning` when there is none. */
export async function askControl(
  path: string,
  request: ControlRequest,
  progress: (text: string) => void = () => {},
): Promise<unknown> {
  const socket = connect(path)
  try {
    await once(socket, 'connect')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EACCES')
      throw new Error(`only root can ask the installation at ${path}: run it with sudo`, { cause: error })
    throw new NotRunning()
  }
  socket.write(`${JSON.stringify(request)}\n`)
  for await (const line of createInterface({ input: socket })) {
    const reply = JSON.parse(line) as ControlReply
    if (reply.kind === 'progress') progress(reply.text)
    else if (reply.kind === 'failed') throw new Error(reply.message)
    else return reply.value
  }
  // The parent closes the socket by ending, which is what `down` waits for.
  if (request.verb === 'down') return undefined
  throw new Error('the installation ended while it was asked')
}

export class NotRunning extends Error {
  constructor() {
    super('this installation is not running: start it with ./lelantos up')
    this.name = 'NotRunning'
  }
}
