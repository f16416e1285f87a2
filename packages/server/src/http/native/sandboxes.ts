// Creating, listing and reading sandboxes.
import { limits, type PublicState, publicStates, Refused } from '@lelantos-ai/contract'
import type { Context } from '../../context.ts'
import { createSandbox } from '../../sandboxes/create.ts'
import { getSandbox } from '../../sandboxes/get.ts'
import { listSandboxes } from '../../sandboxes/list.ts'
import { sandboxLogs } from '../../sandboxes/logs.ts'
import type { Caller } from '../../sandboxes/sandbox.ts'
import type { Answers } from '../api/answers.ts'
import { isE2BClient } from '../api/client.ts'
import { decodeCursor, encodeCursor } from '../api/cursor.ts'
import { parseMetadataFilter } from '../api/metadata-filter.ts'
import { refuseForeignOptions } from '../e2b/options.ts'
import { foreignEntry } from '../e2b/logs.ts'
import { wantedSandbox } from './wanted.ts'
import { wireCreated, wireDetail, wireListed } from './wire.ts'

type SandboxAnswers = Pick<
  Answers,
  'createSandbox' | 'listSandboxes' | 'listSandboxesV2' | 'getSandbox' | 'sandboxLogs'
>

/** A list without pages ends here. */
const LIST_MAX = 10_000
const LISTED_BY_DEFAULT: readonly PublicState[] = ['running', 'paused']

export const sandboxAnswers: SandboxAnswers = {
  async createSandbox({ context }, { body, caller, request }) {
    refuseForeignOptions(body)
    const timeout = isE2BClient(request) ? limits.timeoutSeconds.e2bV1 : limits.timeoutSeconds.native
    const sandbox = await createSandbox(context, caller, wantedSandbox(request, body, timeout))
    return wireCreated(context, sandbox)
  },

  async listSandboxes({ context }, { query, caller, request }) {
    const e2b = isE2BClient(request)
    const metadata = parseMetadataFilter(query.metadata, e2b)
    const page = await listSandboxes(context, caller, {
      states: LISTED_BY_DEFAULT,
      ...(metadata === undefined ? {} : { metadata }),
      limit: LIST_MAX,
      order: 'desc',
    })
    return page.sandboxes.map((sandbox) => wireListed(sandbox, e2b ? 'e2b' : 'native'))
  },

  async listSandboxesV2({ context }, { query, caller, request, reply }) {
    const e2b = isE2BClient(request)
    const metadata = parseMetadataFilter(query.metadata, e2b)
    const cursor = decodeCursor(query.nextToken)
    const page = await listSandboxes(context, caller, {
      states: parseStates(query.state),
      ...(metadata === undefined ? {} : { metadata }),
      limit: query.limit ?? limits.pageSize.default,
      ...(cursor === undefined ? {} : { after: { createdAt: cursor.at, sandboxID: cursor.id } }),
      order: query.order ?? 'desc',
    })
    if (page.next !== undefined)
      void reply.header('x-next-token', encodeCursor(page.next.createdAt, page.next.sandboxID))
    if (e2b) void reply.header('x-total-running', String(await countRunning(context, caller)))
    return page.sandboxes.map((sandbox) => wireListed(sandbox, e2b ? 'e2b' : 'native'))
  },

  async getSandbox({ context }, { params, query, caller, request }) {
    const terminated = query.terminated === true ? 'include' : 'hide'
    const sandbox = await getSandbox(context, caller, params.sandboxID, { terminated })
    return wireDetail(context, sandbox, isE2BClient(request) ? 'e2b' : 'native')
  },

  async sandboxLogs({ context }, { params, query, caller, request }) {
    const page = { start: query.start ?? 0, limit: query.limit ?? limits.logsPage.default }
    const lines = await sandboxLogs(context, caller, params.sandboxID, page)
    const logs = lines.map(({ at, line }) => ({ timestamp: at.toISOString(), line }))
    // E2B's older clients read the same events under another name.
    const logEntries = logs.map(({ timestamp, line }) => foreignEntry(timestamp, line))
    return isE2BClient(request) ? Object.assign({ logs }, { logEntries }) : { logs }
  },
}

async function countRunning(context: Context, caller: Caller): Promise<number> {
  const running = await listSandboxes(context, caller, { states: ['running'], limit: LIST_MAX, order: 'desc' })
  return running.sandboxes.length
}

function parseStates(text: string | undefined): readonly PublicState[] {
  if (text === undefined || text === '') return LISTED_BY_DEFAULT
  const states = text.split(',').map((state) => state.trim())
  const known = (state: string): state is PublicState => (publicStates as readonly string[]).includes(state)
  if (!states.every(known))
    throw new Refused('bad_request', `state must be of ${publicStates.join(', ')}, separated by commas`)
  return states
}
