import { Refused } from '@lelantos-ai/contract'
import type { FastifyReply } from 'fastify'

/**
 * Aborts when the client goes away, or after `deadlineMs` with `operation_timeout` (never, unless given). To be disposed
 * of when the request is over.
 */
export function untilClientLeaves(
  reply: FastifyReply,
  deadlineMs?: number,
): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController()
  const leave = (): void => {
    if (!reply.raw.writableFinished) controller.abort()
  }
  reply.raw.once('close', leave)
  const expire = (): void =>
    controller.abort(new Refused('operation_timeout', `the sandbox did not answer within ${deadlineMs} ms`))
  const timer = deadlineMs === undefined ? undefined : setTimeout(expire, deadlineMs)
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      clearTimeout(timer)
      reply.raw.off('close', leave)
    },
  }
}
