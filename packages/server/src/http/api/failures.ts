// Whatever ends a request badly becomes one body here: `{ code, message, error, requestId }`.
import { BusError, type ErrorCode, errors, type Log, Refused, type schemas } from '@lelantos-ai/contract'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { isStoreAway } from '../../store/away.ts'
import { BodyAborted } from './json.ts'

/** The body of an error. */
export function errorBody(error: ErrorCode, message: string, requestId: string): schemas.ErrorBody {
  return { code: errors[error].status, message, error, requestId }
}

/** What a thrown value means to the client. Everything unknown is a defect of ours. */
function refusalOf(thrown: unknown): Refused {
  if (thrown instanceof Refused) return thrown
  if (isStoreAway(thrown)) return new Refused('unavailable', 'the store is away for a moment: try again', 1)
  if (thrown instanceof BusError) return new Refused('unavailable', 'the bus is away for a moment: try again', 1)
  return (
    refusalOfFastify(thrown as FastifyError) ??
    new Refused('internal', 'this is a defect of Lelantos: the request id finds it in the log')
  )
}

/** Installs the handlers of errors, of unknown routes and of known routes with other methods. */
export function installFailures(app: FastifyInstance, log: Log): void {
  const methods = new Map<string, Set<string>>()
  app.addHook('onRoute', (route) => {
    const known = methods.get(route.url) ?? new Set()
    for (const method of [route.method].flat()) known.add(method)
    methods.set(route.url, known)
  })
  app.setErrorHandler((thrown, request, reply) => fail(thrown, request, reply, log))
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0] as string
    const allowed = [...methods].filter(([url]) => matches(url, path)).flatMap(([, known]) => [...known])
    if (allowed.length === 0)
      return fail(
        new Refused('not_found', `there is no route ${request.method} ${path.slice(0, 200)}`),
        request,
        reply,
        log,
      )
    void reply.header('allow', [...new Set(allowed)].sort().join(', '))
    const message = `${path.slice(0, 200)} does not take ${request.method}`
    return fail(new Refused('method_not_allowed', message), request, reply, log)
  })
}

export function fail(thrown: unknown, request: FastifyRequest, reply: FastifyReply, log: Log): FastifyReply {
  const { refusal } = refusalOf(thrown)
  const status = errors[refusal.error].status
  const fields = {
    requestId: request.id,
    method: request.method,
    route: request.routeOptions?.url,
    error: refusal.error,
  }
  if (thrown instanceof BodyAborted) log.debug(fields, 'api: the client went away')
  else if (status >= 500) log[status === 500 ? 'error' : 'warn']({ ...fields, err: thrown }, `api: ${refusal.message}`)
  if (refusal.retryAfter !== undefined) void reply.header('retry-after', String(Math.ceil(refusal.retryAfter)))
  // A body that nobody reads would hold the connection: it ends instead.
  if (!request.raw.complete && request.raw.headers['content-length'] !== '0' && hasBody(request))
    void reply.header('connection', 'close')
  return reply.code(status).send(errorBody(refusal.error, refusal.message, request.id))
}

function hasBody(request: FastifyRequest): boolean {
  const { headers } = request.raw
  return headers['transfer-encoding'] !== undefined || headers['content-length'] !== undefined
}

function refusalOfFastify(error: Partial<FastifyError>): Refused | undefined {
  switch (error.code) {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new Refused('unsupported_media_type', 'the body must be application/json')
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new Refused('payload_too_large', 'the body is longer than the route takes')
    case 'FST_ERR_BAD_URL':
      return new Refused('bad_request', 'the path is not a URL')
  }
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500)
    return new Refused('bad_request', 'the request is malformed')
  return undefined
}

function matches(url: string, path: string): boolean {
  const wanted = url.split('/')
  const given = path.split('/')
  return wanted.length === given.length && wanted.every((part, n) => part.startsWith(':') || part === given[n])
}
