// Which of the kernel's modules a guest has. They are frozen into every snapshot, so all that people need in a sandbox is
// loaded at the template's boot: virtio, and what containers and VPNs use.
import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'

/** In the order of need: the disk and the network first. Those that are built into the kernel are left out by themselves. */
export const guestModules: readonly string[] = Object.values({
  devices: 'virtio_mmio virtio_blk virtio_net virtio_rng',
  containers: 'overlay fuse loop tun veth bridge br_netfilter dummy macvlan vxlan wireguard',
  nftables:
    'nf_tables nft_ct nft_nat nft_chain_nat nft_masq nft_redir nft_limit nft_log nft_hash nft_numgen nft_compat',
  nftReject: 'nft_reject nft_reject_inet nft_reject_ipv4 nft_fib nft_fib_inet nft_fib_ipv4 nft_fib_ipv6',
  conntrack: 'nf_conntrack_netlink nf_log_syslog',
  iptables: 'ip_tables iptable_filter iptable_nat iptable_mangle iptable_raw ipt_REJECT',
  ip6tables: 'ip6_tables ip6table_filter ip6table_nat ip6table_mangle ip6table_raw ip6t_REJECT',
  // Used by iptables of either kind.
  matches:
    'xt_addrtype xt_comment xt_connmark xt_conntrack xt_limit xt_mark xt_multiport xt_owner xt_physdev xt_statistic',
  targets: 'xt_LOG xt_MASQUERADE xt_nat xt_NFLOG xt_REDIRECT xt_tcpudp xt_TCPMSS',
}).flatMap((names) => names.split(' '))

/**
 * The files of these modules and of all that they need, each after what it needs, as paths relative to the folder of
 * modules. Rejects when one is neither a module of this kernel nor built into it.
 */
export async function moduleFiles(folder: string, wanted = guestModules): Promise<string[]> {
  const index = parseDependencies(await readFile(join(folder, 'modules.dep'), 'utf8'))
  const builtin = new Set((await readFile(join(folder, 'modules.builtin'), 'utf8')).split('\n').map(moduleName))
  return loadOrder(index, builtin, wanted)
}

export interface ModuleIndex {
  /** Module name -> path of its file. */
  readonly files: ReadonlyMap<string, string>
  /** Path -> paths of all that it needs, the deepest last. */
  readonly needs: ReadonlyMap<string, readonly string[]>
}

/** Reads `modules.dep`: `path: path path ...` in each line (depmod(8), modules.dep(5)). */
export function parseDependencies(text: string): ModuleIndex {
  const files = new Map<string, string>()
  const needs = new Map<string, readonly string[]>()
  for (const line of text.split('\n')) {
    const [path = '', list = ''] = line.split(':', 2)
    if (path === '') continue
    files.set(moduleName(path), path)
    needs.set(
      path,
      list.split(' ').filter((word) => word !== ''),
    )
  }
  return { files, needs }
}

/** Each wanted module after those it needs, none twice. */
export function loadOrder(index: ModuleIndex, builtin: ReadonlySet<string>, wanted: readonly string[]): string[] {
  const order = new Set<string>()
  for (const module of wanted) {
    const path = index.files.get(moduleName(module))
    if (path === undefined) {
      if (builtin.has(moduleName(module))) continue
      throw new Error(`the kernel has no module ${module}`)
    }
    for (const needed of (index.needs.get(path) ?? []).toReversed()) order.add(needed)
    order.add(path)
  }
  return [...order]
}

/** The kernel takes `-` and `_` in a module's name as the same. */
function moduleName(path: string): string {
  return basename(path)
    .replace(/\.ko(\.\w+)?$/, '')
    .replaceAll('-', '_')
}
