// Files of a sandbox: contents over plain HTTP, the rest over the daemon's Filesystem calls. Relative paths start at the
// home of the user, who is root unless another is named.
import type { Envd } from '../envd/envd.ts'
import { ConflictError, LelantosError, NotFoundError } from '../errors.ts'
import type { Body } from '../http/exchange.ts'
import type { FileInfo } from '../wire.ts'

export interface FileOptions {
  /** Whose file: decides where relative paths start, what may be read, and who owns what is made. `root` unless given. */
  readonly user?: string | undefined
  /** ms to the answer; the client's unless given. Contents may take any time to transfer. */
  readonly requestTimeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

export type FileContent = string | Uint8Array | ArrayBuffer | Blob | ReadableStream<Uint8Array>
export type ReadFormat = 'text' | 'bytes' | 'stream'

export interface FileEntry {
  readonly name: string
  readonly path: string
  readonly type: 'file' | 'directory' | 'symlink' | 'other'
  /** Bytes. */
  readonly size: number
  readonly mode: number
  /** As `ls -l` shows them: `-rw-r--r--`. */
  readonly permissions: string
  readonly owner: string
  readonly group: string
  readonly modifiedTime: Date | undefined
  readonly symlinkTarget: string | undefined
}

export class Files {
  readonly #envd: Envd

  constructor(envd: Envd) {
    this.#envd = envd
  }

  /** Reads a file, as text unless another format is asked for. Throws `NotFoundError`. */
  async read(path: string, options?: FileOptions & { readonly format?: 'text' | undefined }): Promise<string>
  async read(path: string, options: FileOptions & { readonly format: 'bytes' }): Promise<Uint8Array>
  async read(path: string, options: FileOptions & { readonly format: 'stream' }): Promise<ReadableStream<Uint8Array>>
  async read(
    path: string,
    options: FileOptions & { readonly format?: ReadFormat | undefined } = {},
  ): Promise<string | Uint8Array | ReadableStream<Uint8Array>> {
    const reply = await this.#envd.transfer({ ...call(`reading ${path}`, options), method: 'GET', path })
    if (options.format === 'stream') return reply.stream()
    const bytes = await reply.bytes()
    return options.format === 'bytes' ? bytes : new TextDecoder().decode(bytes)
  }

  /** Writes a whole file, replacing what was there; makes the folders above it. Streams are passed on as they come. */
  async write(path: string, content: FileContent, options: FileOptions = {}): Promise<FileInfo> {
    const reply = await this.#envd.transfer({
      ...call(`writing ${path}`, options),
      method: 'POST',
      path,
      body: content as Body,
    })
    const [written] = JSON.parse(await reply.text()) as FileInfo[]
    if (written === undefined) {
      throw new LelantosError(`writing ${path}: the sandbox wrote nothing`, { code: 'invalid_reply' })
    }
    return written
  }

  /** What is in a folder, to a depth of 1 unless given. */
  async list(path: string, options: FileOptions & { readonly depth?: number | undefined } = {}): Promise<FileEntry[]> {
    const reply = await this.#call('ListDir', { path, depth: options.depth ?? 1 }, `listing ${path}`, options)
    return ((reply['entries'] ?? []) as Record<string, unknown>[]).map(entry)
  }

  /** Makes a folder and those above it. False when it was there. */
  async makeDir(path: string, options: FileOptions = {}): Promise<boolean> {
    try {
      await this.#call('MakeDir', { path }, `making ${path}`, options)
      return true
    } catch (error) {
      if (error instanceof ConflictError && error.code === 'already_exists') return false
      throw error
    }
  }

  /** Removes a file, or a folder with all that is in it. */
  async remove(path: string, options: FileOptions = {}): Promise<void> {
    await this.#call('Remove', { path }, `removing ${path}`, options)
  }

  async move(source: string, destination: string, options: FileOptions = {}): Promise<FileEntry> {
    const what = `moving ${source} to ${destination}`
    return entryOf(await this.#call('Move', { source, destination }, what, options))
  }

  /** Throws `NotFoundError` where there is nothing. */
  async stat(path: string, options: FileOptions = {}): Promise<FileEntry> {
    return entryOf(await this.#call('Stat', { path }, `looking at ${path}`, options))
  }

  async exists(path: string, options: FileOptions = {}): Promise<boolean> {
    try {
      await this.stat(path, options)
      return true
    } catch (error) {
      // A sandbox that is gone is not found either, and says nothing about the file.
      if (error instanceof NotFoundError && error.code === 'file_not_found') return false
      throw error
    }
  }

  async #call(method: string, message: object, what: string, options: FileOptions): Promise<Record<string, unknown>> {
    return await this.#envd.unary(`filesystem.Filesystem/${method}`, message, call(what, options))
  }
}

function call(what: string, { user, requestTimeoutMs, signal }: FileOptions) {
  return { what, user, timeoutMs: requestTimeoutMs, signal }
}

const types: Readonly<Record<string, FileEntry['type']>> = {
  FILE_TYPE_FILE: 'file',
  FILE_TYPE_DIRECTORY: 'directory',
  FILE_TYPE_SYMLINK: 'symlink',
}

function entryOf(reply: Record<string, unknown>): FileEntry {
  return entry((reply['entry'] ?? {}) as Record<string, unknown>)
}

/** JSON leaves out what is 0 or empty, and has 64-bit numbers as text. */
function entry(fields: Record<string, unknown>): FileEntry {
  const text = (name: string) => (typeof fields[name] === 'string' ? fields[name] : '')
  return {
    name: text('name'),
    path: text('path'),
    type: types[text('type')] ?? 'other',
    size: Number(fields['size'] ?? 0),
    mode: Number(fields['mode'] ?? 0),
    permissions: text('permissions'),
    owner: text('owner'),
    group: text('group'),
    modifiedTime: text('modifiedTime') === '' ? undefined : new Date(text('modifiedTime')),
    symlinkTarget: text('symlinkTarget') || undefined,
  }
}
