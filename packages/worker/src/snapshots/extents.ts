// Which chunks of a file have data. Node cannot ask (lseek with SEEK_DATA, the FIEMAP ioctl), and reading the 20 GB of a
// sparse disk to find its 700 MB takes seconds and fills the page cache with zeros: filefrag(8) of e2fsprogs asks for it.
import type { FileHandle } from 'node:fs/promises'
import { command } from '../host/command.ts'
import { CHUNK_BYTES } from './manifest.ts'

/** Below this, or without a hole, reading all of it is quicker than starting a program. */
const ASK_BYTES_MIN = 32 * 1024 * 1024

/** Numbers of the chunks that may hold something else than zeros, in order. */
export async function chunksWithData(file: FileHandle): Promise<number[]> {
  const { size, blocks } = await file.stat()
  const all = Array.from({ length: Math.ceil(size / CHUNK_BYTES) }, (_, chunk) => chunk)
  if (size < ASK_BYTES_MIN || blocks * 512 >= size) return all
  try {
    // -s: what is written but has no place on the disk yet is in no extent.
    const path = `/proc/${process.pid}/fd/${file.fd}`
    const { stdout } = await command('filefrag', ['-s', '-v', '-b4096', path], { deadlineMs: 60_000 })
    return parseExtents(stdout, size)
  } catch {
    return all // a file system without FIEMAP, tmpfs for one
  }
}

/** Reads what `filefrag -v -b4096` prints: `   0:      256..     511:   34816..   35071:    256:    1: flags`. */
export function parseExtents(text: string, size: number): number[] {
  const chunks = new Set<number>()
  let extents = 0
  for (const line of text.split('\n')) {
    const match = /^\s*\d+:\s*(\d+)\.\.\s*(\d+):/.exec(line)
    if (!match) continue
    extents++
    const first = Math.floor((Number(match[1]) * 4096) / CHUNK_BYTES)
    const last = Math.floor((Number(match[2]) * 4096) / CHUNK_BYTES)
    for (let chunk = first; chunk <= last && chunk * CHUNK_BYTES < size; chunk++) chunks.add(chunk)
  }
  // `N extents found` must agree, or the output is of another form than the one read here. Neighbours are counted as one.
  const found = Number(/: (\d+) extents? found/.exec(text)?.[1] ?? Number.NaN)
  if (Number.isNaN(found) || extents < found) throw new Error('filefrag printed something unexpected')
  return [...chunks].toSorted((a, b) => a - b)
}
