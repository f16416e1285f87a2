import type { FastifyRequest } from 'fastify'

/** E2B's clients say who they are. Where their documents and ours promise different things, each gets what its own promise. */
export function isE2BClient(request: FastifyRequest): boolean {
  return (request.headers['user-agent'] ?? '').startsWith('e2b-')
}
