// Whether a state folder can be where it was put, asked before anything is installed. PostgreSQL, nats-server and the
// API run as a user of their own: every folder above theirs must let it through.
import type { Stats } from 'node:fs'
import { chmod, mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ConfigError } from './config.ts'
import { homeAt } from './home.ts'
import { socketPath, SOCKET_PATH_MAX } from './adapters/private-postgres.ts'

const OTHERS_MAY_PASS = 0o001

/** Makes the state folder and those above it that are not there. Throws `ConfigError` for a place that cannot be one. */
export async function makePlace(home: string): Promise<void> {
  const socket = socketPath(homeAt(home).postgres)
  if (Buffer.byteLength(socket) > SOCKET_PATH_MAX)
    throw new ConfigError(
      `LELANTOS_HOME is too long: the path of a socket in it must be at most ${SOCKET_PATH_MAX} bytes, got ${socket}`,
    )
  const missing: string[] = []
  let folder = home
  let found: Stats | undefined
  while ((found = await statOf(folder)) === undefined) {
    missing.unshift(folder)
    folder = dirname(folder)
  }
  if (!found.isDirectory()) throw new ConfigError(`LELANTOS_HOME cannot be ${home}: ${folder} is no folder`)
  // The state folder itself is opened by `makeHome`.
  for (let above = missing.length === 0 ? dirname(folder) : folder; ; above = dirname(above)) {
    const { mode } = await stat(above)
    if ((mode & OTHERS_MAY_PASS) === 0)
      throw new ConfigError(
        `LELANTOS_HOME cannot be ${home}: the system user lelantos may not pass ${above} (mode ${modeOf(mode)}). ` +
          `Choose another place, /var/lib/lelantos say, or let it pass: chmod o+x ${above}`,
      )
    if (above === dirname(above)) break
  }
  for (const absent of missing) {
    // One by one: Node's own recursion never ends where a file system refuses to have folders, as /proc does.
    try {
      await mkdir(absent)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') continue // made by another at the same time
      throw new ConfigError(`LELANTOS_HOME cannot be ${home}: ${(error as Error).message}`, { cause: error })
    }
    await chmod(absent, 0o711)
  }
}

async function statOf(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path)
  } catch (error) {
    // Of a path below a file: that file is found on the way up.
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined
    throw new ConfigError(`LELANTOS_HOME cannot be looked at: ${(error as Error).message}`, { cause: error })
  }
}

function modeOf(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0')
}
