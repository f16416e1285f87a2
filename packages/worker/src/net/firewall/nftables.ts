// Passage through chains of nf_tables that others have made: firewalld's, or an administrator's own.
import { command } from '../../host/command.ts'
import { HOOKS, PASSAGES, type Hook, type Owner, type Passage } from './passages.ts'

const COMMAND_MS = 30_000

export interface BaseChain {
  readonly family: string
  readonly table: string
  readonly name: string
  readonly hook: Hook
  readonly policy: string
}

interface Rule {
  readonly family: string
  readonly table: string
  readonly chain: string
  readonly handle: number
  readonly comment?: string
}

/** Names the chains to which rules were added. */
export async function open(owner: Owner): Promise<string[]> {
  const chains = (await baseChains()).filter(drops)
  if (chains.length === 0) return []
  const marked = await markedRules(owner)
  const missing = chains.filter(
    (chain) =>
      !marked.some((rule) => rule.family === chain.family && rule.table === chain.table && rule.chain === chain.name),
  )
  const lines = missing.flatMap((chain) =>
    PASSAGES.filter((passage) => passage.hook === chain.hook).map(
      (passage) =>
        `insert rule ${chain.family} ${chain.table} ${chain.name} ${matches(owner, passage)} accept comment "${owner.mark}"\n`,
    ),
  )
  if (lines.length > 0) await command('nft', ['-f', '-'], { deadlineMs: COMMAND_MS, input: lines.join('') })
  return missing.map((chain) => `${chain.family} ${chain.table} ${chain.name}`)
}

export async function close(owner: Owner): Promise<void> {
  const lines = (await markedRules(owner)).map(
    (rule) => `delete rule ${rule.family} ${rule.table} ${rule.chain} handle ${rule.handle}\n`,
  )
  if (lines.length > 0) await command('nft', ['-f', '-'], { deadlineMs: COMMAND_MS, input: lines.join('') })
}

/** Filter chains on the hooks that traffic of slots passes, whoever made them. */
export async function baseChains(): Promise<BaseChain[]> {
  const listed = await list<{ chain?: BaseChain & { type?: string } }>(['chains'])
  return listed.flatMap(({ chain }) =>
    chain?.type === 'filter' && ['ip', 'inet'].includes(chain.family) && HOOKS.includes(chain.hook) ? [chain] : [],
  )
}

/** Of firewalld the policy is accept, and the last rule of each chain rejects. iptables' own chains are not touched here. */
function drops(chain: BaseChain): boolean {
  if (chain.table.startsWith('lelantos_') || (chain.family === 'ip' && chain.table === 'filter')) return false
  return chain.policy === 'drop' || (chain.table === 'firewalld' && chain.name.startsWith('filter_'))
}

function matches({ interfacePrefix }: Owner, { direction }: Passage): string {
  if (direction === 'from_guest') return `iifname "${interfacePrefix}*"`
  return `oifname "${interfacePrefix}*"${direction === 'to_guest' ? '' : ' ct state established,related'}`
}

async function markedRules({ mark }: Owner): Promise<Rule[]> {
  const listed = await list<{ rule?: Rule }>(['ruleset'])
  return listed.flatMap(({ rule }) =>
    rule?.comment === mark && !(rule.family === 'ip' && rule.table === 'filter') ? [rule] : [],
  )
}

async function list<Item>(what: readonly string[]): Promise<Item[]> {
  const { stdout } = await command('nft', ['-j', 'list', ...what], { deadlineMs: COMMAND_MS })
  return (JSON.parse(stdout) as { nftables: Item[] }).nftables
}
