import { Refused, type schemas } from '@lelantos-ai/contract'
import type { Caller } from '../../sandboxes/sandbox.ts'
import type { API } from '../api/answers.ts'
import { sampleOf } from '../native/metrics.ts'

/** As many as a page of a list has. */
const SANDBOXES_MAX = 100

/** `GET /sandboxes/metrics?sandbox_ids=a,b`: those that run and answer. */
export async function latestMetrics(
  api: API,
  caller: Caller,
  ids: string | undefined,
): Promise<Record<string, schemas.Metric>> {
  const wanted = [...new Set((ids ?? '').split(',').filter(Boolean))]
  if (wanted.length === 0 || wanted.length > SANDBOXES_MAX)
    throw new Refused('bad_request', `sandbox_ids must be 1 to ${SANDBOXES_MAX} ids, got ${wanted.length}`)
  const samples = await Promise.allSettled(wanted.map((id) => sampleOf(api, caller, id)))
  const found: Record<string, schemas.Metric> = {}
  samples.forEach((sample, n) => {
    if (sample.status === 'fulfilled') found[wanted[n] as string] = sample.value
    else if (!(sample.reason instanceof Refused)) throw sample.reason
  })
  return found
}
