// The system user that the unprivileged processes of every installation run as.
import { readFile } from 'node:fs/promises'
import { hashOf } from './artifact.ts'
import { command } from './program.ts'
import type { Step } from './steps.ts'

export const SYSTEM_USER = 'lelantos'

export interface SystemUser {
  readonly uid: number
  readonly gid: number
}

export function systemUserStep(): Step {
  return {
    name: 'system-user',
    inputs: async () => hashOf(SYSTEM_USER),
    present: async () => (await findUser()) !== undefined,
    run: async ({ signal }) => {
      if ((await findUser()) === undefined) {
        const account = ['--system', '--user-group', '--no-create-home', '--home-dir', '/nonexistent']
        await command(['useradd', ...account, '--shell', '/usr/sbin/nologin', SYSTEM_USER], { signal })
      }
      return SYSTEM_USER
    },
  }
}

/** Looks the user up in /etc/passwd. */
export async function findUser(name = SYSTEM_USER): Promise<SystemUser | undefined> {
  const match = new RegExp(`^${name}:[^:]*:(\\d+):(\\d+):`, 'm').exec(await readFile('/etc/passwd', 'utf8'))
  return match === null ? undefined : { uid: Number(match[1]), gid: Number(match[2]) }
}
