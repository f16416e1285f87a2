import type { ListedSandbox, PublicState } from '@lelantos-ai/sdk'
import type { Context, Outcome } from '../context.ts'
import { usage } from '../options.ts'
import { print, printable, printJSON, say, table } from '../output.ts'
import { ALL, listAll, LIVE } from '../pick.ts'
import { progress } from '../progress.ts'
import { relative } from '../relative.ts'

export interface ListFlags {
  readonly state?: string
  readonly metadata?: Record<string, string>
  readonly all?: boolean
}

export async function ls(context: Context, flags: ListFlags): Outcome {
  const listing = listAll(context, states(flags), flags.metadata)
  const sandboxes = await progress('listing sandboxes', listing)
  if (context.json) return await printJSON(sandboxes)
  if (sandboxes.length === 0) return say('no sandboxes; `lelantos create` makes one')
  await print(table(['ID', 'TEMPLATE', 'STATE', 'STARTED', 'ENDS', 'METADATA'], sandboxes.map(row)))
}

function row(sandbox: ListedSandbox): string[] {
  const metadata = Object.entries(sandbox.metadata).map(([name, value]) => `${name}=${value}`)
  const ends = sandbox.state === 'running' ? relative(sandbox.endAt) : '-'
  return [
    sandbox.sandboxID,
    sandbox.alias ?? sandbox.templateID,
    sandbox.state,
    relative(sandbox.startedAt),
    ends,
    printable(metadata.join(' ')),
  ]
}

function states({ state, all }: ListFlags): readonly PublicState[] {
  if (state === undefined) return all ? ALL : LIVE
  return state.split(',').map((word) => {
    const known = ALL.find((candidate) => candidate === word)
    if (known === undefined) throw usage(`--state must be of ${ALL.join(', ')}, got ${JSON.stringify(word)}`)
    return known
  })
}
