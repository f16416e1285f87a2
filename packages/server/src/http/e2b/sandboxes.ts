// E2B's routes that differ from ours, translated to the same verbs. What is the same path serves both (`native/`).
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { limits, schemas } from '@lelantos-ai/contract'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { connectSandbox } from '../../sandboxes/connect.ts'
import { createSandbox } from '../../sandboxes/create.ts'
import type { Caller } from '../../sandboxes/sandbox.ts'
import { refreshSandbox } from '../../sandboxes/timeout.ts'
import { getTemplate } from '../../templates/templates.ts'
import { type API, callerOf } from '../api/answers.ts'
import { sandboxTimeout } from '../api/client.ts'
import { wantedSandbox } from '../native/wanted.ts'
import { wireCreated } from '../native/wire.ts'
import { foreignLogs } from './logs.ts'
import { latestMetrics } from './metrics.ts'
import { refuseForeignOptions } from './options.ts'

const seconds = Type.Optional(Type.Integer({ minimum: 0, maximum: limits.timeoutSeconds.maximum }))
const Connect = Type.Object({ timeout: seconds, memory: Type.Optional(Type.Boolean()) })
const Refreshes = Type.Object({
  duration: Type.Optional(Type.Integer({ minimum: 0, maximum: limits.refreshesMaximumSeconds })),
})
const ID = Type.Object({ sandboxID: Type.String() })
const callers = new WeakMap<FastifyRequest, Caller>()

export function addSandboxRoutes(plain: FastifyInstance, api: API): void {
  const { context } = api
  const app = plain.withTypeProvider<TypeBoxTypeProvider>()
  const keyed = {
    onRequest: async (request: FastifyRequest) => void callers.set(request, await callerOf(context, request)),
    preValidation: async (request: FastifyRequest) => void (request.body ??= {}),
  }
  const caller = (request: unknown): Caller => callers.get(request as FastifyRequest) as Caller

  app.post('/v2/sandboxes', { ...keyed, schema: { body: schemas.NewSandbox } }, async (request, reply) => {
    refuseForeignOptions(request.body)
    const wanted = wantedSandbox(request, request.body, limits.timeoutSeconds.e2bV2)
    const sandbox = await createSandbox(context, caller(request), wanted)
    return reply.code(201).send(wireCreated(context, sandbox))
  })

  for (const url of ['/sandboxes/:sandboxID/connect', '/v2/sandboxes/:sandboxID/connect'] as const) {
    app.post(url, { ...keyed, schema: { params: ID, body: Connect } }, async (request, reply) => {
      refuseForeignOptions(request.body)
      const timeoutSeconds = sandboxTimeout(request, request.body.timeout) ?? limits.timeoutSeconds.e2bV2
      const { sandboxID } = request.params
      const { sandbox, resumed } = await connectSandbox(context, caller(request), sandboxID, { timeoutSeconds })
      return reply.code(resumed ? 201 : 200).send(wireCreated(context, sandbox))
    })
  }

  app.post(
    '/sandboxes/:sandboxID/refreshes',
    { ...keyed, schema: { params: ID, body: Refreshes } },
    async (request, reply) => {
      const seconds = sandboxTimeout(request, request.body.duration)
      await refreshSandbox(context, caller(request), request.params.sandboxID, seconds)
      return reply.code(204).send()
    },
  )

  app.get('/v2/sandboxes/:sandboxID/logs', { ...keyed, schema: { params: ID } }, async (request) => ({
    logs: await foreignLogs(
      context,
      caller(request),
      request.params.sandboxID,
      request.query as Record<string, unknown>,
    ),
  }))

  const Ids = Type.Object({ sandbox_ids: Type.Optional(Type.String()) })
  app.get('/sandboxes/metrics', { ...keyed, schema: { querystring: Ids } }, async (request) => ({
    sandboxes: await latestMetrics(api, caller(request), request.query.sandbox_ids),
  }))

  const Alias = Type.Object({ alias: Type.String() })
  app.get('/templates/aliases/:alias', { ...keyed, schema: { params: Alias } }, async (request) => {
    const template = await getTemplate(context, caller(request), request.params.alias)
    return { templateID: template.templateID, public: template.teamID === null }
  })
}
