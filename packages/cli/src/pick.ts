// A sandbox by its id or a prefix of it, with or without the `sbx` that all of them begin with.
import { idPattern } from '@lelantos-ai/contract/ids'
import type { ListedSandbox, PublicState } from '@lelantos-ai/sdk'
import type { Context } from './context.ts'
import { exitCodes, Failure } from './exit.ts'
import { relative } from './relative.ts'

const WHOLE = new RegExp(idPattern('sandbox'))
export const LIVE: readonly PublicState[] = ['created', 'running', 'paused']
export const ALL: readonly PublicState[] = [...LIVE, 'killed', 'stopped']

/** A whole id is taken as it is; only a prefix costs a request. */
export async function pick(context: Context, text: string, among: readonly PublicState[] = LIVE): Promise<string> {
  if (WHOLE.test(text)) return text
  if (!/^[a-z0-9]+$/.test(text)) {
    throw new Failure(
      exitCodes.usage,
      `a sandbox id has lower-case letters and digits only, got ${JSON.stringify(text)}`,
    )
  }
  const sandboxes = await listAll(context, among)
  const starting = (prefix: string) => sandboxes.filter(({ sandboxID }) => sandboxID.startsWith(prefix))
  const fitting = starting(text).length > 0 ? starting(text) : starting(`sbx${text}`)
  const [one, ...others] = fitting
  if (one === undefined) {
    const hint = '`lelantos ls --all` lists those that have ended too'
    throw new Failure(exitCodes.notFound, `no sandbox has an id that begins with ${text}; ${hint}`)
  }
  if (others.length > 0) throw new Failure(exitCodes.usage, ambiguous(text, fitting))
  return one.sandboxID
}

/** Every sandbox in these states, page by page. */
export async function listAll(
  context: Context,
  state: readonly PublicState[],
  metadata?: Record<string, string>,
): Promise<ListedSandbox[]> {
  const sandboxes: ListedSandbox[] = []
  let nextToken: string | undefined
  do {
    const page = await context.client.listSandboxesV2({ state, metadata, nextToken, signal: context.signal })
    sandboxes.push(...page.data)
    nextToken = page.nextToken
  } while (nextToken !== undefined)
  return sandboxes
}

function ambiguous(text: string, fitting: readonly ListedSandbox[]): string {
  const shown = fitting
    .slice(0, 10)
    .map(({ sandboxID, state, startedAt }) => `${sandboxID} (${state}, ${relative(startedAt)})`)
  const more = fitting.length > shown.length ? [`${fitting.length - shown.length} more`] : []
  return `${text} fits ${fitting.length} sandboxes, write more of the id: ${[...shown, ...more].join(', ')}`
}
