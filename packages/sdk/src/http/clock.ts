// One abort signal for two causes: the caller's signal, and a deadline. `AbortSignal.any` would do, but Node 18 has none.

export interface Clock {
  /** Aborted by the caller's signal or at the deadline. */
  readonly signal: AbortSignal
  /** Whether it was the deadline. */
  readonly expired: boolean
  /** Lifts the deadline; the caller's signal still aborts. */
  stop(): void
  /** Lifts both. */
  release(): void
}

/** Starts a deadline of `timeoutMs` from now; none where it is undefined or 0. */
export function startClock(timeoutMs: number | undefined, outer: AbortSignal | undefined): Clock {
  const controller = new AbortController()
  let expired = false
  const timer = timeoutMs
    ? setTimeout(() => {
        expired = true
        controller.abort()
      }, timeoutMs)
    : undefined
  const follow = () => controller.abort(outer?.reason)
  if (outer?.aborted) follow()
  else outer?.addEventListener('abort', follow, { once: true })
  const stop = () => clearTimeout(timer)
  return {
    signal: controller.signal,
    get expired() {
      return expired
    },
    stop,
    release() {
      stop()
      outer?.removeEventListener('abort', follow)
    },
  }
}

/** Resolves after `ms`; rejects with the reason of `signal` when that aborts first. */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted()
  await new Promise<void>((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer)
      // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- an abort is thrown as its reason, whatever that is
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort)
      resolve()
    }, ms)
    signal?.addEventListener('abort', abort, { once: true })
  })
}
