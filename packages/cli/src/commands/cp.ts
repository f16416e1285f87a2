// Copying a file: from or to a sandbox (`ID:PATH`), this machine, or a pipe (`-`), of any size, a piece at a time.
import { createReadStream, createWriteStream } from 'node:fs'
import { rename, rm, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ReadableStream as WebStream } from 'node:stream/web'
import type { SandboxHandle } from '@lelantos-ai/sdk'
import type { Context, Outcome } from '../context.ts'
import { exitCodes, Failure } from '../exit.ts'
import { usage } from '../options.ts'
import { bytesText, printJSON, say } from '../output.ts'
import { pick } from '../pick.ts'
import { progress } from '../progress.ts'

type Place =
  | { readonly kind: 'sandbox'; readonly sandbox: SandboxHandle; readonly path: string }
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'pipe' }

interface CopyFlags {
  readonly user?: string
}

export async function cp(context: Context, from: string, to: string, flags: CopyFlags): Outcome {
  const [source, destination] = [await place(context, from), await place(context, to)]
  if (source.kind !== 'sandbox' && destination.kind !== 'sandbox') {
    throw usage(`one side of cp must be in a sandbox, ID:PATH; got ${from} and ${to}`)
  }
  let bytes = 0
  const count = new Transform({
    transform(chunk: Uint8Array, _encoding, next) {
      bytes += chunk.length
      next(null, chunk)
    },
  })
  const name = 'path' in source ? basename(source.path) : ''
  const copying = copy(
    context,
    await open(context, source, flags),
    count,
    await inFolder(destination, name, flags),
    flags,
  )
  await progress(() => `copying, ${bytesText(bytes)}`, copying)
  if (context.json && destination.kind !== 'pipe') return await printJSON({ source: from, destination: to, bytes })
  say(`copied ${bytesText(bytes)}`)
}

async function copy(
  { signal }: Context,
  source: Readable,
  count: Transform,
  destination: Place,
  { user }: CopyFlags,
): Promise<void> {
  if (destination.kind === 'sandbox') {
    const stop = new AbortController()
    const reading = pipeline(source, count, { signal: AbortSignal.any([signal, stop.signal]) })
    const content = Readable.toWeb(count) as ReadableStream<Uint8Array>
    // What the source has to say is the cause; that the upload broke off is what follows.
    const writing = destination.sandbox.files.write(destination.path, content, { user, signal })
    writing.catch(() => stop.abort())
    const [read, written] = await Promise.allSettled([reading, writing])
    if (read.status === 'rejected' && !isBrokenOff(read.reason)) throw read.reason
    if (written.status === 'rejected') throw written.reason
    return
  }
  if (destination.kind === 'pipe') return await pipeline(source, count, process.stdout, { signal, end: false })
  const present = await stat(destination.path).catch(() => undefined)
  // A device or a pipe is written to; in place of a file the new one comes when it is whole.
  const special = present !== undefined && !present.isFile()
  const path = special ? destination.path : `${destination.path}.${process.pid}.part`
  try {
    await pipeline(source, count, createWriteStream(path), { signal })
    if (!special) await rename(path, destination.path)
  } catch (error) {
    if (!special) await rm(path, { force: true })
    throw error
  }
}

async function open(context: Context, source: Place, { user }: CopyFlags): Promise<Readable> {
  if (source.kind === 'pipe') return process.stdin
  if (source.kind === 'sandbox') {
    const { files } = source.sandbox
    const content = await files.read(source.path, { format: 'stream', user, signal: context.signal })
    return Readable.fromWeb(content as WebStream)
  }
  const present = await stat(source.path).catch((cause: NodeJS.ErrnoException) => {
    const missing = cause.code === 'ENOENT' || cause.code === 'ENOTDIR'
    const message = missing ? `there is no file ${source.path}` : cause.message
    throw new Failure(missing ? exitCodes.notFound : exitCodes.failure, message, { cause })
  })
  if (present.isDirectory()) {
    const hint = `tar c ${source.path} | lelantos exec ID -- tar x`
    throw new Failure(exitCodes.usage, `${source.path} is a folder, and cp copies one file: ${hint}`)
  }
  return createReadStream(source.path)
}

/** A destination that is a folder means the file of the same name in it. */
async function inFolder(place: Place, name: string, { user }: CopyFlags): Promise<Place> {
  if (place.kind === 'pipe' || name === '') return place
  if (place.kind === 'file') {
    const present = await stat(place.path).catch(() => undefined)
    return present?.isDirectory() ? { ...place, path: join(place.path, name) } : place
  }
  if (place.path === '' || place.path.endsWith('/')) return { ...place, path: place.path + name }
  // Where it cannot be looked at, writing says why.
  const present = await place.sandbox.files.stat(place.path, { user }).catch(() => undefined)
  return present?.type === 'directory' ? { ...place, path: `${place.path}/${name}` } : place
}

async function place(context: Context, text: string): Promise<Place> {
  if (text === '-') return { kind: 'pipe' }
  const [, id, path] = /^([a-z0-9]+):(.*)$/s.exec(text) ?? []
  if (id === undefined || path === undefined) return { kind: 'file', path: text }
  return { kind: 'sandbox', sandbox: context.client.sandbox(await pick(context, id)), path }
}

function isBrokenOff(error: unknown): boolean {
  const { code, name } = error as { code?: unknown; name?: unknown }
  return code === 'ERR_STREAM_PREMATURE_CLOSE' || name === 'AbortError'
}
