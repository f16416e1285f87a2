// Copies the pages that a guest has changed out of its VMM, in a thread of its own: scanning and copying are CPU work that
// would hold up every other machine of this worker. Guest memory is a private mapping of a file that never changes, so
// a page differs from the file exactly when it is anonymous (or swapped out), which /proc/PID/pagemap tells.
import { closeSync, fstatSync, openSync, readFileSync, readSync, statSync, writeSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'

export interface CopyRequest {
  readonly id: number
  readonly pid: number
  /** The file that guest memory is a private mapping of. */
  readonly base: string
  /** A clone of it, which the changed pages are written into. */
  readonly target: string
}

export interface CopyResult {
  /** Numbers of the 2 MiB chunks of the target that differ from the base. */
  readonly changed: readonly number[]
  readonly bytes: number
  readonly scanMs: number
  readonly copyMs: number
}

export type CopyReply = { readonly id: number } & (
  | { readonly result: CopyResult }
  | { readonly error: string; readonly code: string | undefined }
)

const PAGE = 4096
const CHUNK = 2_097_152
const BUFFER = 1_048_576
// Of the upper half of a pagemap entry: present (bit 63), swapped (62), page of a file or shared (61).
const PRESENT = 0x8000_0000
const SWAPPED = 0x4000_0000
const FILE = 0x2000_0000

interface Run {
  readonly address: number
  readonly offset: number
  readonly length: number
}

parentPort?.on('message', (request: CopyRequest) => {
  let reply: CopyReply
  try {
    reply = { id: request.id, result: copyChangedPages(request) }
  } catch (error) {
    reply = { id: request.id, error: String(error), code: (error as NodeJS.ErrnoException).code }
  }
  parentPort?.postMessage(reply)
})

function copyChangedPages(request: CopyRequest): CopyResult {
  const start = performance.now()
  const size = statSync(request.base).size
  const runs = mappings(request.pid, request.base).flatMap((mapping) => changedRuns(request.pid, mapping))
  const scanned = performance.now()
  const memory = openSync(`/proc/${request.pid}/mem`, 'r')
  const target = openSync(request.target, 'r+')
  try {
    if (fstatSync(target).size !== size) throw new Error('the clone of the memory file has another size')
    const changed = new Set<number>()
    let bytes = 0
    for (const run of runs) bytes += copyRun(run, memory, target, changed)
    const numbers = [...changed].toSorted((a, b) => a - b)
    return { changed: numbers, bytes, scanMs: scanned - start, copyMs: performance.now() - scanned }
  } finally {
    closeSync(memory)
    closeSync(target)
  }
}

/** Where the file is mapped. It is known by its inode: its path changes with links and renames. */
function mappings(pid: number, base: string): Run[] {
  const file = statSync(base)
  const found: Run[] = []
  for (const line of readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n')) {
    const fields = line.split(/\s+/)
    if (Number(fields[4]) !== file.ino) continue
    const range = fields[0] ?? ''
    // The device in this list is not that of stat(2) on every file system (btrfs); a stat through the mapping's own link is.
    const mapped = statSync(`/proc/${pid}/map_files/${range}`, { throwIfNoEntry: false })
    if (mapped?.dev !== file.dev) continue
    const [from = NaN, to = NaN] = range.split('-').map((address) => Number.parseInt(address, 16))
    found.push({ address: from, offset: Number.parseInt(fields[2] ?? '', 16), length: to - from })
  }
  const mapped = found.reduce((sum, mapping) => sum + mapping.length, 0)
  if (mapped !== file.size) throw new Error(`process ${pid} maps ${mapped} bytes of its memory file, not ${file.size}`)
  return found
}

function changedRuns(pid: number, mapping: Run): Run[] {
  const pages = mapping.length / PAGE
  const entries = Buffer.alloc(pages * 8)
  const pagemap = openSync(`/proc/${pid}/pagemap`, 'r')
  try {
    const position = (mapping.address / PAGE) * 8
    for (let read = 0; read < entries.length;) {
      const got = readSync(pagemap, entries, read, Math.min(BUFFER, entries.length - read), position + read)
      if (got === 0) throw new Error(`process ${pid} ended while its memory was read`)
      read += got
    }
  } finally {
    closeSync(pagemap)
  }
  const words = new Uint32Array(entries.buffer, entries.byteOffset, pages * 2)
  const runs: Run[] = []
  let first = -1
  for (let page = 0; page <= pages; page++) {
    const upper = page < pages ? (words[2 * page + 1] ?? 0) : 0
    const isChanged = (upper & SWAPPED) !== 0 || ((upper & PRESENT) !== 0 && (upper & FILE) === 0)
    if (isChanged && first < 0) first = page
    if (isChanged || first < 0) continue
    const start = first * PAGE
    runs.push({
      address: mapping.address + start,
      offset: mapping.offset + start,
      length: page * PAGE - start,
    })
    first = -1
  }
  return runs
}

const buffer = Buffer.alloc(BUFFER)
const other = Buffer.alloc(PAGE)
const zeros = Buffer.alloc(PAGE)

/** Returns the bytes written. A page of zeros over a hole stays a hole: a guest's free memory is mostly that. */
function copyRun(run: Run, memory: number, target: number, changed: Set<number>): number {
  let bytes = 0
  for (let done = 0; done < run.length; done += BUFFER) {
    const length = Math.min(BUFFER, run.length - done)
    if (readSync(memory, buffer, 0, length, run.address + done) !== length) {
      throw new Error('the process ended while its memory was read')
    }
    let from = 0
    const flush = (to: number) => {
      if (to > from) writeFully(target, from, to - from, run.offset + done + from)
      bytes += to - from
    }
    for (let at = 0; at < length; at += PAGE) {
      const offset = run.offset + done + at
      if (buffer.compare(zeros, 0, PAGE, at, at + PAGE) === 0 && isZero(target, offset)) {
        flush(at)
        from = at + PAGE
      } else {
        changed.add(Math.floor(offset / CHUNK))
      }
    }
    flush(length)
  }
  return bytes
}

function isZero(target: number, offset: number): boolean {
  return readSync(target, other, 0, PAGE, offset) === PAGE && other.equals(zeros)
}

function writeFully(target: number, at: number, length: number, position: number): void {
  for (let written = 0; written < length;) {
    written += writeSync(target, buffer, at + written, length - written, position + written)
  }
}
