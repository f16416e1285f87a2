import { stat } from 'node:fs/promises'
import { EngineError, type Shape, type Snapshot } from './engine.ts'

/**
 * Looks at what a restore is about to open: memory of exactly the size, nothing empty or missing. A VMM might make such
 * a file itself and run a broken guest in it. Rejects with `EngineError`.
 */
export async function verifyFiles(snapshot: Snapshot, shape: Shape): Promise<void> {
  const sizeOf = async (path: string) => {
    const found = await stat(path).catch((cause: unknown) => {
      throw new EngineError(`${path} of snapshot ${snapshot.snapshotID} cannot be read`, { cause })
    })
    return found.size
  }
  const bytes = shape.memoryMB * 1_048_576
  const memory = await sizeOf(snapshot.memory)
  if (memory !== bytes) {
    throw new EngineError(`memory of snapshot ${snapshot.snapshotID} must have ${bytes} bytes, has ${memory}`)
  }
  if (snapshot.disks.length === 0) throw new EngineError(`snapshot ${snapshot.snapshotID} has no disk`)
  for (const path of [snapshot.state, ...snapshot.disks]) {
    if ((await sizeOf(path)) === 0) throw new EngineError(`${path} of snapshot ${snapshot.snapshotID} is empty`)
  }
}
