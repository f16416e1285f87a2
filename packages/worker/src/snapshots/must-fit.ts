import type { World } from '../engines/engine.ts'
import { SnapshotError } from './snapshots.ts'

/** How far apart two TSC rates may be: each boot of a host calibrates anew, and a guest's clock drifts by as much. */
const TSC_TOLERANCE_PPM = 200

interface Field {
  readonly name: string
  readonly of: (world: World) => string | number
  /** What someone who needs the snapshot can do. */
  readonly wayOut: (made: string | number) => string
}

const FIELDS: readonly Field[] = [
  { name: 'engine', of: (world) => world.engine, wayOut: (made) => `resume it on a worker with ${made}` },
  {
    name: 'version',
    of: (world) => world.version,
    wayOut: (made) => `resume it on a worker with version ${made} of the engine`,
  },
  {
    name: 'devices',
    of: (world) => world.devices,
    wayOut: (made) => `resume it with the release of Lelantos whose device set is ${made}`,
  },
  {
    name: 'accelerator',
    of: (world) => world.accelerator,
    wayOut: (made) => `resume it on a worker that runs guests with ${made}`,
  },
  { name: 'cpu', of: (world) => world.cpu, wayOut: (made) => `resume it on a worker whose guests see the CPU ${made}` },
  { name: 'cpuCount', of: (world) => world.shape.cpuCount, wayOut: (made) => `restore it with ${made} CPUs` },
  { name: 'memoryMB', of: (world) => world.shape.memoryMB, wayOut: (made) => `restore it with ${made} MB` },
  {
    name: 'diskSizeMB',
    of: (world) => world.shape.diskSizeMB,
    wayOut: (made) => `restore it with a disk of ${made} MB`,
  },
]

/** Throws `does_not_fit` for the first field in which the two differ. */
export function assertFits(snapshotID: string, made: World, here: World): void {
  const refuse = (field: string, was: string | number, is: string | number, wayOut: string) => {
    throw new SnapshotError(
      'does_not_fit',
      `snapshot ${snapshotID} was made with ${field} ${was}, here it is ${is}: ${wayOut}, or make it anew here`,
    )
  }
  for (const { name, of, wayOut } of FIELDS) {
    if (of(made) !== of(here)) refuse(name, of(made), of(here), wayOut(of(made)))
  }
  const was = made.tscKHz
  const is = here.tscKHz
  if (was === undefined && is === undefined) return
  if (was === undefined || is === undefined || Math.abs(is - was) / was > TSC_TOLERANCE_PPM / 1e6) {
    refuse('tscKHz', was ?? 'none', is ?? 'none', `resume it on a worker whose rate is within ${TSC_TOLERANCE_PPM} ppm`)
  }
}
