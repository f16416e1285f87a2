// The API: every route of the contract's table with its answer, E2B's own routes beside them, one shape of error.
import { randomBytes } from 'node:crypto'
import multipart from '@fastify/multipart'
import { limits, Refused, type Route, type RouteName, routes } from '@lelantos-ai/contract'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, type RouteOptions } from 'fastify'
import { addSandboxRoutes } from '../e2b/sandboxes.ts'
import { addUnsupported } from '../e2b/unsupported.ts'
import { execAnswers } from '../native/exec.ts'
import { fileAnswers, PATH_BYTES } from '../native/files.ts'
import { keyAnswers } from '../native/keys.ts'
import { lifecycleAnswers } from '../native/lifecycle.ts'
import { metricAnswers } from '../native/metrics.ts'
import { sandboxAnswers } from '../native/sandboxes.ts'
import { systemAnswers } from '../native/system.ts'
import { templateAnswers } from '../native/templates.ts'
import { type Answers, type API, type Call, callerOf } from './answers.ts'
import { fail, installFailures } from './failures.ts'
import { parseJSON, readBody } from './json.ts'
import { validatorCompiler } from './validation.ts'

/** A route of the table without an answer does not compile. */
const answers: Answers = {
  ...systemAnswers,
  ...sandboxAnswers,
  ...lifecycleAnswers,
  ...execAnswers,
  ...fileAnswers,
  ...metricAnswers,
  ...templateAnswers,
  ...keyAnswers,
}

/** The API, ready for `routing` or `inject`; it listens on nothing. */
export async function buildAPI(api: API): Promise<FastifyInstance> {
  const { log } = api.context
  const app = Fastify({
    logger: false,
    genReqId: () => `req${randomBytes(10).toString('hex')}`,
    // Bodies are bounded by their parsers (`json.ts`, `native/files.ts`), which know what they read.
    bodyLimit: limits.uploadBytes,
    routerOptions: { maxParamLength: 256 },
    frameworkErrors: (error, request, reply) => void fail(error, request as FastifyRequest, reply as FastifyReply, log),
  })
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(() => (value) => JSON.stringify(value))
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', async (_request: FastifyRequest, stream: FastifyRequest['raw']) =>
    parseJSON(await readBody(stream)),
  )
  app.addHook('onRequest', async (request, reply) => {
    void reply.header('x-request-id', request.id)
    // PostgreSQL has no text with a NUL in it, and no file name or command has.
    if (/%(25)*00/.test(request.url)) throw new Refused('bad_request', 'the URL must not contain NUL characters')
  })
  app.addHook('onResponse', async (request, reply) => {
    log.debug(
      {
        requestId: request.id,
        method: request.method,
        route: request.routeOptions.url,
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime * 10) / 10,
      },
      'api: answered',
    )
  })
  installFailures(app, log)
  for (const name of Object.keys(routes) as RouteName[]) {
    if (name === 'writeFile') await app.register(async (scope) => addUpload(scope, api))
    else app.route(routeOf(name, api))
  }
  addSandboxRoutes(app, api)
  addUnsupported(app, api)
  await app.ready()
  return app
}

/** Files arrive as streams, here and nowhere else. */
async function addUpload(scope: FastifyInstance, api: API): Promise<void> {
  scope.removeAllContentTypeParsers()
  await scope.register(multipart, {
    // One byte more than the bound that `native/files.ts` keeps: this one would cut a file short in silence.
    // The same of a field: one that is too long is refused there, and not cut. More files than one are refused there too.
    limits: { fileSize: limits.uploadBytes + 1, files: 2, fields: 8, fieldSize: PATH_BYTES + 1, headerPairs: 32 },
  })
  scope.addContentTypeParser('application/octet-stream', async (_request: FastifyRequest, stream: unknown) => stream)
  scope.addContentTypeParser('*', async () => {
    const message = 'the body must be multipart/form-data, or application/octet-stream with the path in the query'
    throw new Refused('unsupported_media_type', message)
  })
  scope.route(routeOf('writeFile', api))
}

function routeOf(name: RouteName, api: API): RouteOptions {
  const route: Route = routes[name]
  const answer = answers[name] as (api: API, call: Call<RouteName>) => Promise<unknown>
  return {
    method: route.method,
    url: route.path.replace(/\{(\w+)\}/g, ':$1'),
    schema: {
      ...(route.query === undefined ? {} : { querystring: route.query }),
      ...(route.body === undefined ? {} : { body: route.body }),
    },
    // Reading a whole file only to throw it away is no HEAD.
    exposeHeadRoute: route.method === 'GET' && name !== 'readFile',
    onRequest: async (request) => {
      if (route.auth === 'key') callers.set(request, await callerOf(api.context, request))
    },
    preValidation: async (request) => {
      if (route.bodyOptional === true) request.body ??= {}
    },
    handler: async (request, reply) => {
      void reply.code(route.success.status)
      const { params, query, body } = request
      const call = { params, query, body, caller: callers.get(request), request, reply }
      const value = await answer(api, call as Call<RouteName>)
      return reply.statusCode === 204 ? reply.send() : reply.send(value)
    },
  }
}

const callers = new WeakMap<FastifyRequest, unknown>()
