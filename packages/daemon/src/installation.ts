// Who an installation is: six hex digits that stand in the name of everything it owns on this host, a range of addresses
// and a range of uids. Several installations stand side by side, so ranges are chosen under a lock, against a register of
// the host that every installation writes itself into.
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { newID } from '@lelantos-ai/contract'
import { writeDurably } from '@lelantos-ai/worker/host/durable'
import { chooseSubnet } from '@lelantos-ai/worker/net/subnet'
import type { Home } from './home.ts'
import { withLock } from './lock.ts'

export interface Installation {
  /** Six hex digits. */
  readonly id: string
  readonly createdAt: string
  readonly workerID: string
  /** Slots have their addresses in it: `10.201.0.0/16`. */
  readonly subnet: string
  /** The VM in slot n runs as user uidBase + n. */
  readonly uidBase: number
}

interface Registered {
  readonly home: string
  readonly uidBase: number
}

/** Uids from here on belong to VMs: above what useradd and container runtimes give out by themselves. */
const FIRST_UID = 2_000_000_000
const UIDS_EACH = 20_000

/** Reads the identity, or makes it. `register` is the host's folder of installations. */
export async function openInstallation(
  home: Home,
  register = '/etc/lelantos/installations',
): Promise<{ installation: Installation; key: Uint8Array }> {
  await mkdir(register, { recursive: true, mode: 0o755 })
  return withLock(join(register, '.lock'), async () => {
    const known = await readJSON<Installation>(home.installation)
    const identity = known ?? { ...(await identify(register)), subnet: undefined }
    // Claims on subnets do not survive a reboot of the host: the old one is taken again if it is still free.
    const subnet = await chooseSubnet({
      installation: identity.id,
      ...(identity.subnet === undefined ? {} : { preferred: identity.subnet }),
    })
    const installation: Installation = { ...identity, subnet }
    await writeDurably(home.installation, JSON.stringify(installation, undefined, 2), 0o644)
    await writeDurably(join(register, `${installation.id}.json`), entryOf(home, installation), 0o644)
    return { installation, key: await openKey(home) }
  })
}

async function identify(register: string): Promise<Omit<Installation, 'subnet'>> {
  const others = await registered(register)
  const taken = new Set(others.map((other) => other.uidBase))
  let uidBase = FIRST_UID
  while (taken.has(uidBase)) uidBase += UIDS_EACH
  return {
    id: randomBytes(3).toString('hex'),
    createdAt: new Date().toISOString(),
    workerID: newID('worker'),
    uidBase,
  }
}

/** The installations of this host whose state folder is still there; entries of deleted ones are dropped. */
async function registered(register: string): Promise<Registered[]> {
  const entries: Registered[] = []
  for (const name of await readdir(register)) {
    if (!name.endsWith('.json')) continue
    const entry = await readJSON<Registered>(join(register, name))
    if (entry !== undefined && existsSync(entry.home)) entries.push(entry)
    else await rm(join(register, name), { force: true })
  }
  return entries
}

function entryOf(home: Home, { uidBase }: Installation): string {
  return JSON.stringify({ home: home.folder, uidBase } satisfies Registered)
}

/** 32 random bytes from which every token of the installation is derived: whoever reads the file owns the installation. */
async function openKey(home: Home): Promise<Uint8Array> {
  try {
    return Buffer.from((await readFile(home.installationKey, 'utf8')).trim(), 'hex')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    const key = randomBytes(32)
    await writeDurably(home.installationKey, key.toString('hex'), 0o600)
    return key
  }
}

async function readJSON<T>(path: string): Promise<T | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as T
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new Error(`${path} cannot be read`, { cause: error })
  }
}
