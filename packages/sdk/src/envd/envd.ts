// The guest daemon of one sandbox, over its wire: unary calls, server streams and plain HTTP for files.
import { base64FromBytes } from '../bytes.ts'
import { type Body, exchange, type Fetch, type Reply } from '../http/exchange.ts'
import type { Address } from '../sandbox/address.ts'
import { encodeEnvelope, envelopes } from './envelope.ts'
import { errorFromConnect, errorFromGuestReply } from './rpc-errors.ts'

/** Whoever runs a command or owns a file unless told otherwise: samples install packages without sudo. */
const DEFAULT_USER = 'root'

export interface GuestCall {
  /** Names what is done, for messages: `reading /etc/hosts`. */
  readonly what: string
  readonly user?: string | undefined
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

export interface FileTransfer extends GuestCall {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly body?: Body | undefined
}

export interface GuestAccess {
  readonly address: Address
  readonly token: string | undefined
}

export class Envd {
  readonly #fetch: Fetch
  readonly #timeoutMs: number
  readonly #access: () => Promise<GuestAccess>

  /** `access` is asked at each call: the token may have to be fetched first, and is the same ever after. */
  constructor(options: { fetch: Fetch; timeoutMs: number; access: () => Promise<GuestAccess> }) {
    this.#fetch = options.fetch
    this.#timeoutMs = options.timeoutMs
    this.#access = options.access
  }

  /** One message there, one back. */
  async unary(procedure: string, message: object, call: GuestCall): Promise<Record<string, unknown>> {
    const reply = await this.#post(procedure, call, JSON.stringify(message), {
      'Content-Type': 'application/json',
      'Connect-Protocol-Version': '1',
    })
    const text = await reply.text()
    if (!reply.ok) throw errorFromGuestReply(call.what, reply, text)
    return JSON.parse(text === '' ? '{}' : text) as Record<string, unknown>
  }

  /** One message there, many back. The call's deadline ends with the head of the reply. */
  async stream(
    procedure: string,
    message: object,
    call: GuestCall & { readonly headers?: Readonly<Record<string, string>> },
  ): Promise<AsyncGenerator<Record<string, unknown>, void, void>> {
    const reply = await this.#post(procedure, call, encodeEnvelope(message), {
      'Content-Type': 'application/connect+json',
      'Connect-Protocol-Version': '1',
      ...call.headers,
    })
    if (!reply.ok) throw errorFromGuestReply(call.what, reply, await reply.text())
    return messages(reply.stream(), call.what)
  }

  /** `/files`, both ways. Uploads have no deadline: they are of any length. */
  async transfer(transfer: FileTransfer): Promise<Reply> {
    const { address, token } = await this.#access()
    const query = new URLSearchParams({ path: transfer.path, username: transfer.user ?? DEFAULT_USER })
    const reply = await exchange(this.#fetch, {
      method: transfer.method,
      url: `${address.url}/files?${query.toString()}`,
      headers: {
        ...address.headers,
        ...tokenHeader(token),
        ...(transfer.method === 'POST' ? { 'Content-Type': 'application/octet-stream' } : {}),
      },
      body: transfer.body,
      timeoutMs: transfer.timeoutMs ?? (transfer.method === 'GET' ? this.#timeoutMs : undefined),
      signal: transfer.signal,
    })
    if (!reply.ok) throw errorFromGuestReply(transfer.what, reply, await reply.text())
    return reply
  }

  async #post(procedure: string, call: GuestCall, body: Body, headers: Record<string, string>): Promise<Reply> {
    const { address, token } = await this.#access()
    const user = new TextEncoder().encode(`${call.user ?? DEFAULT_USER}:`)
    return await exchange(this.#fetch, {
      method: 'POST',
      url: `${address.url}/${procedure}`,
      headers: {
        ...address.headers,
        ...tokenHeader(token),
        Authorization: `Basic ${base64FromBytes(user)}`,
        ...headers,
      },
      body,
      timeoutMs: call.timeoutMs ?? this.#timeoutMs,
      signal: call.signal,
    })
  }
}

function tokenHeader(token: string | undefined): Record<string, string> {
  return token === undefined ? {} : { 'X-Access-Token': token }
}

async function* messages(
  stream: ReadableStream<Uint8Array>,
  what: string,
): AsyncGenerator<Record<string, unknown>, void, void> {
  for await (const { last, message } of envelopes(stream)) {
    const fields = (message ?? {}) as Record<string, unknown>
    if (!last) yield fields
    else if (fields['error']) throw errorFromConnect(what, fields['error'])
  }
}
