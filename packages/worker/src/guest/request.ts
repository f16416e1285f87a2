// One HTTP request to a guest, bounded in everything: the guest is never trusted.
import { request as httpRequest } from 'node:http'
import { connect, type Socket } from 'node:net'
import { ports } from '@lelantos-ai/contract'
import { GuestError } from './guest.ts'

export interface GuestRequest {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  /** Made when the connection stands, so that a time in it is as fresh as can be. */
  readonly body?: () => { readonly type: string; readonly content: string | Uint8Array }
  readonly connectMs: number
  /** From the connection to the last byte of the reply. */
  readonly replyMs: number
}

export interface GuestReply {
  readonly status: number
  readonly body: Buffer
}

const REPLY_BYTES_MAX = 1_048_576

/** Nothing answers yet: the guest has not been reached, so trying again is right. */
export class NotReached extends Error {}

/** Rejects with `NotReached`, with the signal's reason, or with what went wrong once connected. */
export async function requestGuest(address: string, wanted: GuestRequest, signal: AbortSignal): Promise<GuestReply> {
  const socket = await connected(address, wanted.connectMs, signal)
  const body = wanted.body?.()
  const headers = {
    connection: 'close',
    ...wanted.headers,
    ...(body === undefined ? {} : { 'content-type': body.type, 'content-length': Buffer.byteLength(body.content) }),
  }
  return new Promise<GuestReply>((resolve, reject) => {
    const request = httpRequest({
      host: address,
      port: ports.envd,
      method: wanted.method,
      path: wanted.path,
      headers,
      agent: false,
      createConnection: () => socket,
      signal,
    })
    const timer = setTimeout(
      () => request.destroy(new Error(`the guest did not answer ${wanted.path} in ${wanted.replyMs} ms`)),
      wanted.replyMs,
    )
    request.once('close', () => clearTimeout(timer))
    request.once('error', reject)
    request.once('response', (response) => {
      const parts: Buffer[] = []
      let bytes = 0
      response.on('data', (part: Buffer) => {
        bytes += part.length
        if (bytes <= REPLY_BYTES_MAX) parts.push(part)
        else {
          reject(new GuestError(`the guest's reply to ${wanted.path} is longer than ${REPLY_BYTES_MAX} bytes`))
          request.destroy()
        }
      })
      response.once('error', reject)
      response.once('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(parts) }))
    })
    request.end(body?.content)
  })
}

function connected(address: string, timeoutMs: number, signal: AbortSignal): Promise<Socket> {
  signal.throwIfAborted()
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port: ports.envd, noDelay: true })
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
      socket.removeAllListeners()
    }
    const fail = (error: unknown) => {
      done()
      socket.on('error', () => {}) // what it still says is of no interest
      socket.destroy()
      reject(error as Error)
    }
    const onAbort = () => fail(signal.reason)
    // A packet that comes before the guest's interface is up is lost, and TCP sends it again only after a second.
    const timer = setTimeout(() => fail(new NotReached(`no connection in ${timeoutMs} ms`)), timeoutMs)
    signal.addEventListener('abort', onAbort, { once: true })
    socket.once('error', (cause) => fail(new NotReached(cause.message, { cause })))
    socket.once('connect', () => {
      done()
      resolve(socket)
    })
  })
}
