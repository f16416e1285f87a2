// The state folder. Everything an installation keeps is in it, each thing in one place:
//
//   installation.json    who it is: six hex digits, subnet, uids             installation.key   32 bytes, derives its tokens
//   client.json          address and API key for this machine's own CLI     stamps/, cache/    set-up steps that are done
//   artifacts/           kernel, guest daemon, images                       logs/              JSON lines
//   postgres/  nats/     the private ones                                   run/               control socket, lock
//   worker/              roster                                             vm/, vm.xfs        VM volume and its image
import { chmod, chown, mkdir } from 'node:fs/promises'
import { join } from 'node:path'

export interface Home {
  readonly folder: string
  readonly installation: string
  readonly installationKey: string
  readonly client: string
  readonly logs: string
  readonly run: string
  readonly controlSocket: string
  readonly parent: string
  readonly postgres: string
  readonly nats: string
  readonly worker: string
  readonly volume: string
  readonly volumeImage: string
}

/** The paths in a state folder; touches nothing. */
export function homeAt(folder: string): Home {
  return {
    folder,
    installation: join(folder, 'installation.json'),
    installationKey: join(folder, 'installation.key'),
    client: join(folder, 'client.json'),
    logs: join(folder, 'logs'),
    run: join(folder, 'run'),
    controlSocket: join(folder, 'run', 'control.sock'),
    parent: join(folder, 'run', 'parent.lock'),
    postgres: join(folder, 'postgres'),
    nats: join(folder, 'nats'),
    worker: join(folder, 'worker'),
    volume: join(folder, 'vm'),
    volumeImage: join(folder, 'vm.xfs'),
  }
}

/** Makes the folders. PostgreSQL and NATS run as another user and must get through the state folder, but see nothing in it. */
export async function makeHome(home: Home, owner: { uid: number; gid: number }): Promise<void> {
  await mkdir(home.folder, { recursive: true, mode: 0o711 })
  await chmod(home.folder, 0o711)
  for (const folder of [home.logs, home.run, home.worker]) await mkdir(folder, { recursive: true, mode: 0o700 })
  for (const folder of [home.postgres, home.nats]) {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await chown(folder, owner.uid, owner.gid)
  }
}
