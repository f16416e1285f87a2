// Logs are JSON lines, one file per process in the state folder; `up` in the foreground shows the same lines to people.
import { createWriteStream, renameSync, statSync, type WriteStream } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import type { Log } from '@lelantos-ai/contract'

/** A process writes its log to standard output; its parent puts it into the file. */
export function processLog(name: string, level: string): Log {
  return pino({ name, level, base: { role: name }, timestamp: pino.stdTimeFunctions.isoTime })
}

const ROTATE_BYTES = 64 * 1024 * 1024
const KEPT = 3

/** An append-only log file that is set aside at 64 MiB; three old ones are kept. */
export class LogFile {
  readonly path: string
  #stream: WriteStream
  #bytes: number

  constructor(folder: string, name: string) {
    this.path = join(folder, `${name}.log`)
    this.#bytes = sizeOf(this.path)
    this.#stream = openLog(this.path)
  }

  write(text: string): void {
    this.#bytes += text.length
    if (this.#bytes > ROTATE_BYTES) this.#rotate()
    this.#stream.write(text)
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => this.#stream.end(resolve))
  }

  #rotate(): void {
    this.#stream.end()
    for (let n = KEPT - 1; n >= 0; n--) {
      const from = n === 0 ? this.path : `${this.path}.${n}`
      if (sizeOf(from) > 0) renameSync(from, `${this.path}.${n + 1}`)
    }
    this.#bytes = 0
    this.#stream = openLog(this.path)
  }
}

function openLog(path: string): WriteStream {
  const stream = createWriteStream(path, { flags: 'a', mode: 0o600 })
  stream.on('error', () => {}) // a full disk must stop no process: the lines are lost, and the volume's own checks speak up
  return stream
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}

const LEVELS: Readonly<Record<number, string>> = { 30: '', 40: 'warning: ', 50: 'error: ', 60: 'fatal: ' }

/** One JSON line as people read it, or undefined where it says nothing to them (debug). Lines that are not JSON are shown as they are. */
export function readable(line: string): string | undefined {
  let entry: Record<string, unknown>
  try {
    entry = JSON.parse(line) as Record<string, unknown>
  } catch {
    return line
  }
  const { level, time, msg, role, name: _name, err, ...fields } = entry
  const label = LEVELS[Number(level)]
  if (label === undefined) return undefined
  const details = Object.entries(fields)
    .filter(([, value]) => ['string', 'number', 'boolean'].includes(typeof value))
    .map(([key, value]) => `${key}=${String(value)}`)
    .join(' ')
  const cause = typeof err === 'object' && err !== null && 'message' in err ? `: ${String(err.message)}` : ''
  return `${String(time).slice(11, 23)} ${String(role).padEnd(8)} ${label}${String(msg)}${cause}${details === '' ? '' : `  ${details}`}`
}
