// A request's body as JSON, read with limits: length, depth, time. `JSON.parse` takes any depth, what walks its result
// does not; and what PostgreSQL cannot store as text is refused here, by name.
import type { IncomingMessage } from 'node:http'
import { limits, Refused } from '@lelantos-ai/contract'

/** How long a JSON body may take to arrive, in ms. */
const BODY_MS = 30_000

/** The text of a body. Refuses `payload_too_large`, `request_timeout`; rejects with `BodyAborted` when the client went away. */
export function readBody(stream: IncomingMessage, withinMs = BODY_MS): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    const settle = (act: () => void): void => {
      clearTimeout(timer)
      stream.off('data', take).off('end', end).off('close', gone).off('error', gone)
      act()
    }
    const refuse = (refused: Refused): void => {
      settle(() => reject(refused))
      stream.pause()
    }
    const take = (chunk: Buffer): void => {
      length += chunk.length
      if (length > limits.bodyBytes) refuse(tooLong())
      else chunks.push(chunk)
    }
    const end = (): void => settle(() => resolve(Buffer.concat(chunks).toString('utf8')))
    const gone = (): void => settle(() => reject(new BodyAborted()))
    const timer = setTimeout(
      () => refuse(new Refused('request_timeout', `the body must arrive within ${withinMs / 1000} s`)),
      withinMs,
    )
    if (Number(stream.headers['content-length'] ?? 0) > limits.bodyBytes) return refuse(tooLong())
    stream.on('data', take).on('end', end).on('close', gone).on('error', gone)
  })
}

/** The client went away in the middle of its body: there is nobody to answer. */
export class BodyAborted extends Error {
  constructor() {
    super('the client went away before its body had ended')
    this.name = 'BodyAborted'
  }
}

/** Parses; nothing at all is undefined. Refuses `bad_request`. */
export function parseJSON(text: string): unknown {
  if (text.trim() === '') return undefined
  if (deeperThan(text, limits.jsonDepth))
    throw new Refused('bad_request', `the body must be nested at most ${limits.jsonDepth} deep`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    // V8's message quotes the body, which may hold secrets: only the position is passed on.
    const [, position] = /position (\d+)/.exec((error as Error).message) ?? []
    throw new Refused(
      'bad_request',
      `the body is not JSON${position === undefined ? '' : ` (at character ${position})`}`,
    )
  }
  if (/\\u|__proto__/.test(text)) refuseUnstorable(value, '')
  return value
}

function tooLong(): Refused {
  return new Refused('payload_too_large', `the body must be at most ${limits.bodyBytes} bytes`)
}

function deeperThan(text: string, maximum: number): boolean {
  let depth = 0
  let quoted = false
  for (let n = 0; n < text.length; n++) {
    const c = text.charCodeAt(n)
    if (quoted) {
      if (c === 0x5c) n++
      else if (c === 0x22) quoted = false
    } else if (c === 0x22) quoted = true
    else if (c === 0x7b || c === 0x5b) {
      if (++depth > maximum) return true
    } else if (c === 0x7d || c === 0x5d) depth--
  }
  return false
}

function refuseUnstorable(value: unknown, path: string): void {
  const where = path === '' ? 'the body' : path
  if (typeof value === 'string' && (value.includes('\0') || !value.isWellFormed()))
    throw new Refused('bad_request', `${where} must be text without NUL characters and lone surrogates`)
  if (typeof value !== 'object' || value === null) return
  for (const [key, inner] of Object.entries(value)) {
    if (key === '__proto__') throw new Refused('bad_request', `${where} must not have a field named __proto__`)
    refuseUnstorable(key, `a name in ${where}`)
    refuseUnstorable(inner, path === '' ? key : `${path}.${key}`)
  }
}
