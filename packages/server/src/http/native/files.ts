// Files of a sandbox, streamed straight from and to the guest daemon's `/files`. As root unless a user is named.
import { type Readable, Transform } from 'node:stream'
import type { Multipart } from '@fastify/multipart'
import { limits, Refused, schemas } from '@lelantos-ai/contract'
import type { FastifyReply, FastifyRequest } from 'fastify'
import Value from 'typebox/value'
import Type from 'typebox'
import type { API, Answers } from '../api/answers.ts'
import { readProblem, readReply } from '../guest/guests.ts'
import { untilClientLeaves } from '../guest/signals.ts'
import type { Caller } from '../../sandboxes/sandbox.ts'

/** Headers that make a read conditional or partial, and those that describe what is read. */
const ASKED = ['range', 'if-range', 'if-none-match', 'if-modified-since'] as const
const DESCRIBED = ['content-length', 'content-range', 'accept-ranges', 'last-modified', 'etag'] as const
/** An upload may last, but not stand still this long, in ms. */
const STALLED_MS = 30_000
/** How long a guest may take to open a file, or to write the last of it out. */
const ANSWER_MS = 60_000
const REPLY_BYTES = 65_536
/** PATH_MAX of Linux, with the NUL that it counts. */
export const PATH_BYTES = 4095

export const fileAnswers: Pick<Answers, 'readFile' | 'writeFile'> = {
  async readFile({ guests }, { params, query, caller, request, reply }) {
    const headers: Record<string, string> = {}
    for (const name of ASKED) {
      const value = request.headers[name]
      if (typeof value === 'string') headers[name] = value
    }
    const { signal } = untilClientLeaves(reply)
    const path = guestPath(query.path, query.username)
    const file = await guests.open(caller, params.sandboxID, {
      method: 'GET',
      path,
      headers,
      signal,
      answerMs: ANSWER_MS,
    })
    const status = file.statusCode ?? 0
    if (status !== 200 && status !== 206 && status !== 304 && status !== 416)
      throw refusal(status, await readProblem(file))
    for (const name of DESCRIBED) {
      const value = file.headers[name]
      if (typeof value === 'string') void reply.header(name, value)
    }
    // A guest's word on what a file is would let it speak as this host to a browser.
    void reply
      .code(status)
      .header('content-type', 'application/octet-stream')
      .header('x-content-type-options', 'nosniff')
    return file
  },

  async writeFile(api, { params, query, caller, request, reply }) {
    const write = (path: string, content: Readable): Promise<schemas.FileInfo[]> =>
      upload(api, caller, params.sandboxID, guestPath(path, query.username), content, reply)
    if (request.isMultipart()) return writeParts(request, query.path, write)
    if (query.path === undefined) throw new Refused('bad_request', 'path is required')
    return write(query.path, request.body as Readable)
  },
}

async function writeParts(
  request: FastifyRequest,
  queryPath: string | undefined,
  write: (path: string, content: Readable) => Promise<schemas.FileInfo[]>,
): Promise<schemas.FileInfo[]> {
  let path = queryPath
  let written: schemas.FileInfo[] | undefined
  for await (const part of partsOf(request)) {
    if (part.type === 'field') {
      if (part.fieldname === 'path' && typeof part.value === 'string') path ??= part.value
      continue
    }
    // E2B's clients name the file by its path; ours and forms send the field first.
    const target = path ?? (part.filename.startsWith('/') ? part.filename : undefined)
    if (target === undefined || target === '')
      throw new Refused('bad_request', 'the field path must come before the field file')
    if (written !== undefined) throw new Refused('bad_request', 'one request writes one file')
    written = await write(target, part.file)
  }
  if (written === undefined) throw new Refused('bad_request', 'the field file is required')
  return written
}

/** The parts as they come. What is no multipart body throws `bad_request`. */
async function* partsOf(request: FastifyRequest): AsyncGenerator<Multipart> {
  try {
    yield* request.parts()
  } catch (cause) {
    const refused = new Refused('bad_request', `the multipart body is malformed: ${(cause as Error).message}`)
    refused.cause = cause
    throw refused
  }
}

async function upload(
  { guests }: API,
  caller: Caller,
  sandboxID: string,
  path: string,
  content: Readable,
  reply: FastifyReply,
): Promise<schemas.FileInfo[]> {
  using leaving = untilClientLeaves(reply)
  const body = content.pipe(bounded(content))
  const cut = (): void => {
    if (!content.readableEnded) body.destroy(new Refused('bad_request', 'the body broke off before its end'))
  }
  content.once('error', () => {}) // followed by 'close'
  if (content.destroyed) cut()
  else content.once('close', cut)
  const headers = { 'content-type': 'application/octet-stream' }
  try {
    const request = { method: 'POST', path, headers, body, signal: leaving.signal, answerMs: ANSWER_MS } as const
    const answer = await guests.open(caller, sandboxID, request)
    if (answer.statusCode !== 200 && answer.statusCode !== 201)
      throw refusal(answer.statusCode ?? 0, await readProblem(answer))
    return parseWritten(await readReply(answer, REPLY_BYTES))
  } finally {
    body.destroy() // of an upload that the guest refused early, the rest is not sent
  }
}

/** Passes an upload on, until it is too long or stands still. */
function bounded(content: Readable): Transform {
  let length = 0
  const stalled = (): void => {
    body.destroy(new Refused('request_timeout', `nothing of the file arrived for ${STALLED_MS / 1000} s`))
  }
  const timer = setTimeout(stalled, STALLED_MS)
  const body = new Transform({
    transform(chunk: Buffer, _encoding, pass) {
      timer.refresh()
      length += chunk.length
      if (length <= limits.uploadBytes) return pass(null, chunk)
      content.unpipe(body)
      return pass(new Refused('payload_too_large', `a file must be at most ${limits.uploadBytes} bytes`))
    },
  })
  body.once('close', () => clearTimeout(timer))
  body.on('error', () => {}) // told to who reads it, `guests.open`, even when it comes before that
  return body
}

function guestPath(path: string, username = 'root'): string {
  if (path.includes('\0')) throw new Refused('bad_request', 'path must be text without NUL characters')
  if (Buffer.byteLength(path) > PATH_BYTES)
    throw new Refused('bad_request', `path must be at most ${PATH_BYTES} bytes long`)
  return `/files?${new URLSearchParams({ path, username }).toString()}`
}

function refusal(status: number, message: string): Refused {
  if (status === 404) return new Refused('file_not_found', message)
  if (status === 413) return new Refused('payload_too_large', message)
  if (status === 507) return new Refused('sandbox_disk_full', message)
  if (status >= 400 && status < 500) return new Refused('bad_request', message)
  return new Refused('sandbox_unreachable', message)
}

function parseWritten(text: string): schemas.FileInfo[] {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // Falls through to the refusal: not JSON is a wrong shape too.
  }
  if (!Value.Check(Type.Array(schemas.FileInfo), value))
    throw new Refused('sandbox_unreachable', 'the sandbox answered something that is no list of files')
  return value.map(({ name, path, type }) => ({ name, path, type }))
}
