// Passage through chains of iptables, in both of its forms: the one over nf_tables and the legacy one. They are changed
// through iptables itself, which no longer reads a table in which it finds rules that it did not write.
import { readFile } from 'node:fs/promises'
import { command } from '../../host/command.ts'
import { PASSAGES, type Owner, type Passage } from './passages.ts'
import { baseChains } from './nftables.ts'

const COMMAND_MS = 30_000

/** Names the chains to which rules were added. */
export async function open(owner: Owner): Promise<string[]> {
  const added: string[] = []
  for (const tool of await toolsInUse()) {
    const rules = await listRules(tool)
    for (const passage of PASSAGES) {
      const chain = targetChain(rules, passage)
      if (chain === undefined) continue
      const rule = [...matches(owner, passage), '-m', 'comment', '--comment', owner.mark, '-j', 'ACCEPT']
      if (rules.includes(['-A', chain, ...rule].join(' '))) continue
      await command(tool, ['-w', '-I', chain, '1', ...rule], { deadlineMs: COMMAND_MS })
      added.push(`${tool} ${chain}`)
    }
  }
  return added
}

export async function close(owner: Owner): Promise<void> {
  for (const tool of await toolsInUse()) {
    for (const rule of await listRules(tool)) {
      if (!rule.includes(` --comment ${owner.mark} `)) continue
      await command(tool, ['-w', '-D', ...rule.split(' ').slice(1)], { deadlineMs: COMMAND_MS })
    }
  }
}

/**
 * Where a passage is needed, given what `iptables -S` prints: in DOCKER-USER if there is one, which Docker leaves alone when
 * it makes its own chains anew, else in the built-in chain. `undefined` where the built-in chain is open and empty.
 */
export function targetChain(rules: readonly string[], passage: Passage): string | undefined {
  const chain = passage.hook.toUpperCase()
  if (chain === 'FORWARD' && rules.includes('-N DOCKER-USER')) return 'DOCKER-USER'
  const closed = rules.some((rule) => rule.startsWith(`-P ${chain} `) && !rule.endsWith(' ACCEPT'))
  return closed || rules.some((rule) => rule.startsWith(`-A ${chain} `)) ? chain : undefined
}

/** In the order in which `iptables -S` prints them, so that a rule that is there already is recognized. */
function matches({ interfacePrefix }: Owner, { direction }: Passage): string[] {
  if (direction === 'from_guest') return ['-i', `${interfacePrefix}+`]
  const outward = ['-o', `${interfacePrefix}+`]
  return direction === 'to_guest' ? outward : [...outward, '-m', 'conntrack', '--ctstate', 'RELATED,ESTABLISHED']
}

async function listRules(tool: string): Promise<string[]> {
  const { stdout } = await command(tool, ['-w', '-S'], { deadlineMs: COMMAND_MS })
  return stdout.split('\n').filter(Boolean)
}

/** Asking the legacy form makes its table, so it is asked only where there is one. */
async function toolsInUse(): Promise<string[]> {
  const tools: string[] = []
  const overNftables = (await baseChains()).some((chain) => chain.family === 'ip' && chain.table === 'filter')
  if (overNftables && (await isInstalled('iptables-nft'))) tools.push('iptables-nft')
  const legacy = await readFile('/proc/net/ip_tables_names', 'utf8').catch(() => '')
  if (legacy.split('\n').includes('filter') && (await isInstalled('iptables-legacy'))) tools.push('iptables-legacy')
  return tools
}

async function isInstalled(tool: string): Promise<boolean> {
  return command(tool, ['--version'], { deadlineMs: COMMAND_MS }).then(
    () => true,
    () => false,
  )
}
