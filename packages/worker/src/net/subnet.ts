// Chooses the /16 of an installation. Claims of all installations on a host stand in one folder, a file per /16 that names
// its owner: whoever creates the file has it, so two installations that start at once never choose the same.
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { command } from '../host/command.ts'
import { formatAddress, overlap, parseNetwork, relayAddress, slotPrefix, type Network } from './addresses.ts'
import { Resolvers } from './dns/resolvers.ts'

export interface SubnetOptions {
  readonly installation: string
  /** What was chosen before: taken again if it is still free. The caller keeps it. */
  readonly preferred?: string
  /** Networks to stay away from, beyond those that the host has routes to. */
  readonly taken?: readonly string[]
  /** Where claims stand: /run/lelantos/subnets unless given. It must be the same for all installations of a host. */
  readonly claims?: string
  readonly resolvConf?: string
}

/** A free /16, `10.201.0.0/16`: it overlaps no address, route or resolver of the host and no other installation's subnet. */
export async function chooseSubnet(options: SubnetOptions): Promise<string> {
  const { installation, preferred, claims = '/run/lelantos/subnets' } = options
  await mkdir(claims, { recursive: true, mode: 0o755 })
  const occupied = [...(await hostNetworks(installation)), ...(options.taken ?? []).map(parseNetwork)]
  const resolvers = new Resolvers(options.resolvConf ?? '/etc/resolv.conf', '')
  for (const address of await resolvers.addresses()) {
    if (!address.includes(':')) occupied.push(parseNetwork(address))
  }
  const candidates = preferred === undefined ? [] : [preferred]
  for (const candidate of [...candidates, ...candidateSubnets(installation)]) {
    const network = parseNetwork(candidate)
    if (occupied.some((other) => overlap(network, other) && !isOwn(other, network))) continue
    if (await claim(`${claims}/${formatAddress(network.base)}`, installation)) return candidate
  }
  throw new Error('no /16 of 10.0.0.0/8 or 100.64.0.0/10 is free on this host')
}

/**
 * In the order in which they are tried: the quiet upper half of 10/8 first, beginning somewhere that depends on the
 * installation, then the lower, then 100.64/10, which some VPNs claim as a whole.
 */
export function candidateSubnets(installation: string): string[] {
  const first = Number.parseInt(installation, 16) % 128
  const upper = Array.from({ length: 128 }, (_, n) => `10.${128 + ((first + n) % 128)}.0.0/16`)
  const lower = Array.from({ length: 127 }, (_, n) => `10.${n + 1}.0.0/16`)
  const shared = Array.from({ length: 64 }, (_, n) => `100.${64 + n}.0.0/16`)
  return [...upper, ...lower, ...shared]
}

interface HostNetwork extends Network {
  /** Its interface is this installation's. */
  readonly own: boolean
}

/** What the host has routes to, in all tables; local addresses are among them, the default route is not. */
async function hostNetworks(installation: string): Promise<Network[]> {
  const { stdout } = await command('ip', ['-j', '-4', 'route', 'show', 'table', 'all'], { deadlineMs: 10_000 })
  const routes = JSON.parse(stdout) as { dst?: string; dev?: string }[]
  return routes.flatMap(({ dst, dev }): HostNetwork[] => {
    if (dst === undefined || dst === 'default') return []
    return [{ ...parseNetwork(dst), own: dev?.startsWith(slotPrefix(installation)) ?? false }]
  })
}

/** Slots that a restart of the worker has left, and the address of the relay. */
function isOwn(other: Network, subnet: Network): boolean {
  if ((other as Partial<HostNetwork>).own) return true
  return other.prefixLength === 32 && formatAddress(other.base) === relayAddress(subnet)
}

async function claim(path: string, installation: string): Promise<boolean> {
  try {
    await writeFile(path, installation, { flag: 'wx' })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    return (await readFile(path, 'utf8')) === installation
  }
}
