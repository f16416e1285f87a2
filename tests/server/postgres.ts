// A real PostgreSQL for the tests of the server, private to the test file that starts it.
import { execFileSync } from 'node:child_process'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLog } from '@lelantos-ai/contract'
import { type PrivatePostgres, startPrivatePostgres } from '@lelantos-ai/daemon/adapters/private-postgres'
import { openStore, type Store } from '@lelantos-ai/server/store/store'
import { afterAll, beforeAll } from 'vitest'

const number = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }))
/** Debian's package makes this user; any that is not root would do. */
export const user = { uid: number('-u'), gid: number('-g'), name: 'postgres' }

export interface TestPostgres extends AsyncDisposable {
  readonly postgres: PrivatePostgres
  open(): Promise<Store>
}

export async function makeFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'lelantos-pg-'))
  await chmod(path, 0o711)
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

export async function startPostgres(): Promise<TestPostgres> {
  await using started = new AsyncDisposableStack()
  const folder = started.use(await makeFolder())
  const postgres = await startPrivatePostgres({ folder: join(folder.path, 'pg'), user, log: silentLog })
  started.defer(() => postgres.stop())
  const parts = started.move()
  return {
    postgres,
    open: () => openStore({ socketFolder: postgres.socketFolder, user: user.name }, silentLog),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  }
}

/** Gives a file's tests a PostgreSQL of their own, and a store that is open on it from before the first to after the last. */
export function withStore(opened: (store: Store, postgres: TestPostgres) => void): void {
  const parts = new AsyncDisposableStack()
  beforeAll(async () => {
    const postgres = parts.use(await startPostgres())
    opened(parts.use(await postgres.open()), postgres)
  })
  afterAll(() => parts.disposeAsync())
}
