import type { FastifyRequest } from 'fastify'

/** E2B's clients say who they are. Where their documents and ours promise different things, each gets what its own promise. */
export function isE2BClient(request: FastifyRequest): boolean {
  return (request.headers['user-agent'] ?? '').startsWith('e2b-')
}

/**
 * What timeout, in seconds, a request means. To E2B's clients 0 is a sandbox that ends now: they get the shortest there
 * is, and not, from our 0, one that never ends.
 */
export function sandboxTimeout(request: FastifyRequest, seconds: number): number
export function sandboxTimeout(request: FastifyRequest, seconds: number | undefined): number | undefined
export function sandboxTimeout(request: FastifyRequest, seconds: number | undefined): number | undefined {
  return seconds === 0 && isE2BClient(request) ? 1 : seconds
}
