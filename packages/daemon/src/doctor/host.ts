// What the host must let root do: each is tried, and undone. Names carry this process's id, so that two doctors at once do not
// meet.
import { constants } from 'node:fs'
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { command, isNotInstalled } from '../setup/program.ts'
import { type Finding, missing, ok, warning } from './finding.ts'
import { existing } from './machine.ts'

/** Network namespace, tap and address translation: what every sandbox's network is made of. */
export async function checkNetwork(): Promise<Finding[]> {
  const netns = `lelantos-doctor-${process.pid}`
  const inside = (argv: string[]): Promise<string> => command(['ip', 'netns', 'exec', netns, ...argv])
  try {
    await command(['ip', 'netns', 'add', netns])
  } catch (error) {
    return [missing('netns', `a network namespace cannot be made: ${reason(error)}`, SETUP)]
  }
  try {
    const rules = 'table ip nat { chain post { type nat hook postrouting priority 100; masquerade; }; }'
    return [
      ok('netns', 'network namespaces can be made'),
      await tried('tun', 'taps can be made', inside(['ip', 'tuntap', 'add', 'tap0', 'mode', 'tap'])),
      await tried('nftables', 'addresses can be translated', inside(['nft', rules.replace('table', 'add table')])),
    ]
  } finally {
    await command(['ip', 'netns', 'delete', netns]).catch(() => {})
  }
}

const SETUP = './lelantos setup'

async function tried(what: string, why: string, attempt: Promise<unknown>): Promise<Finding> {
  return attempt.then(
    () => ok(what, why),
    (error: unknown) => missing(what, reason(error), SETUP),
  )
}

/** Whether VM files can be cloned by reference: where the state folder is, or on a volume of its own in a file. */
export async function checkVolume(home: string): Promise<Finding> {
  const folder = await mkdtemp(join(await existing(home), '.lelantos-doctor-'))
  try {
    await writeFile(join(folder, 'a'), 'x'.repeat(8192))
    const cloned = await copyFile(join(folder, 'a'), join(folder, 'b'), constants.COPYFILE_FICLONE_FORCE).then(
      () => true,
      () => false,
    )
    if (cloned) return ok('volume', 'the state folder clones files by reference')
    return await tryLoopMount(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function tryLoopMount(folder: string): Promise<Finding> {
  const image = join(folder, 'volume.xfs')
  const mount = join(folder, 'mount')
  try {
    await mkdir(mount)
    await command(['truncate', '-s', '512M', image])
    await command(['mkfs.xfs', '-q', image])
    await command(['mount', '-o', 'loop', image, mount])
  } catch (error) {
    if (isNotInstalled(error)) return missing('volume', `unknown: ${error.message}`, SETUP)
    return warning(
      'volume',
      `an XFS file cannot be mounted (${reason(error)}): clones are sparse copies, slower and bigger`,
    )
  }
  // Lazily, so that removing the folder can never reach into a mount that is busy.
  await command(['umount', '--lazy', mount])
  return ok('volume', 'an XFS file can be mounted, which clones by reference')
}

/** Whether the API can listen. One that is taken by this very installation is as it should be, and the caller knows. */
export async function checkPort(host: string, port: number): Promise<Finding> {
  const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
    const server = createServer()
    server.on('error', resolve)
    server.listen(port, host, () => server.close(() => resolve(undefined)))
  })
  if (error === undefined) return ok('port', `${port} is free on ${host}`)
  if (error.code === 'EADDRINUSE')
    return warning('port', `${port} on ${host} is in use`, `./lelantos up --port ${port + 1}`)
  return missing('port', `${host}:${port} cannot be listened on: ${error.message}`)
}

function reason(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  return text.replace(/\s+/g, ' ').slice(0, 200)
}
