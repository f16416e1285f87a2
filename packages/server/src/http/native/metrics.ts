// What a guest says of its resources, as one sample.
import { Refused, type schemas } from '@lelantos-ai/contract'
import type { API, Answers } from '../api/answers.ts'
import { readProblem, readReply } from '../guest/guests.ts'
import type { Caller } from '../../sandboxes/sandbox.ts'

const REPLY_BYTES = 65_536
const DEADLINE_MS = 5000

export const metricAnswers: Pick<Answers, 'sandboxMetrics'> = {
  async sandboxMetrics(api, { params, caller }) {
    return [await sampleOf(api, caller, params.sandboxID)]
  },
}

/** The present sample of a running sandbox. Refuses: sandbox_not_found, sandbox_not_running, sandbox_unreachable. */
export async function sampleOf({ guests, context }: API, caller: Caller, sandboxID: string): Promise<schemas.Metric> {
  const signal = AbortSignal.timeout(DEADLINE_MS)
  const answer = await guests.open(caller, sandboxID, {
    method: 'GET',
    path: '/metrics',
    signal,
    answerMs: DEADLINE_MS,
  })
  if (answer.statusCode !== 200) throw new Refused('sandbox_unreachable', await readProblem(answer))
  return parseSample(await readReply(answer, REPLY_BYTES), context.clock())
}

/** The time is ours: a guest may say any. */
function parseSample(text: string, at: Date): schemas.Metric {
  let said: unknown
  try {
    said = JSON.parse(text)
  } catch {
    // Falls through to the refusal: not JSON is a wrong shape too.
  }
  if (typeof said !== 'object' || said === null)
    throw new Refused('sandbox_unreachable', 'the sandbox answered something that is no sample')
  const fields = said as Record<string, unknown>
  const number = (name: string): number => {
    const value = fields[name]
    return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : 0
  }
  const integer = (name: string): number => Math.min(Math.round(number(name)), Number.MAX_SAFE_INTEGER)
  return {
    timestamp: at.toISOString(),
    timestampUnix: Math.floor(at.getTime() / 1000),
    cpuCount: integer('cpu_count'),
    cpuUsedPct: number('cpu_used_pct'),
    memUsed: integer('mem_used'),
    memTotal: integer('mem_total'),
    memCache: integer('mem_cache'),
    diskUsed: integer('disk_used'),
    diskTotal: integer('disk_total'),
  }
}
