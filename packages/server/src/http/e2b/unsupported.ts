// Parts of E2B's API that are not here yet. Each answers 501 `not_supported` (403 where E2B's own clients expect that of
// an account without the feature), so that a client can tell it from a wrong address.
import { type ErrorCode, Refused } from '@lelantos-ai/contract'
import type { FastifyInstance } from 'fastify'
import type { API } from '../api/answers.ts'
import { callerOf } from '../api/answers.ts'

type Foreign = readonly [
  methods: readonly ('GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE')[],
  url: string,
  what: string,
  error?: ErrorCode,
]

export const unsupported: readonly Foreign[] = [
  [['POST'], '/sandboxes/:sandboxID/fork', 'forking a sandbox'],
  [['POST'], '/sandboxes/:sandboxID/snapshots', 'snapshots'],
  [['POST'], '/sandboxes/:sandboxID/snapshot', 'snapshots'],
  [['POST'], '/sandboxes/:sandboxID/restore', 'snapshots'],
  [['GET'], '/snapshots', 'snapshots'],
  [['PUT'], '/sandboxes/:sandboxID/network', 'network rules'],
  [['POST'], '/templates', 'building templates'],
  [['POST'], '/v3/templates', 'building templates'],
  [['GET'], '/v2/templates', 'building templates'],
  [['DELETE'], '/templates/:templateID', 'deleting templates and snapshots'],
  [['PATCH'], '/v2/templates/:templateID', 'publishing templates'],
  [['GET'], '/templates/:templateID/files/:hash', 'building templates'],
  [['POST'], '/v2/templates/:templateID/builds/:buildID', 'building templates'],
  [['GET'], '/templates/:templateID/builds/:buildID', 'building templates'],
  [['GET'], '/templates/:templateID/builds/:buildID/status', 'building templates'],
  [['GET'], '/templates/:templateID/builds/:buildID/logs', 'building templates'],
  [['POST', 'DELETE'], '/templates/tags', 'tags of templates'],
  [['GET'], '/templates/:templateID/tags', 'tags of templates'],
  [['GET', 'POST'], '/volumes', 'volumes'],
  [['GET', 'DELETE'], '/volumes/:volumeID', 'volumes'],
  [['GET', 'POST', 'PUT', 'PATCH', 'DELETE'], '/volumecontent/*', 'volumes'],
  [['GET', 'POST'], '/secrets', 'secrets', 'forbidden'],
  [['GET', 'POST', 'DELETE'], '/secrets/:secretID', 'secrets', 'forbidden'],
  [['GET'], '/teams', 'teams'],
  [['GET'], '/teams/:teamID/metrics', 'metrics of teams'],
  [['GET'], '/teams/:teamID/metrics/max', 'metrics of teams'],
]

export function addUnsupported(app: FastifyInstance, { context }: API): void {
  for (const [methods, url, what, error = 'not_supported'] of unsupported) {
    app.route({
      method: [...methods],
      url,
      onRequest: async (request) => void (await callerOf(context, request)),
      handler: async () => {
        throw new Refused(error, `${what}: not supported here`)
      },
    })
  }
}
