// Waiting that can be given up. What others do (an engine, a disk) may hang; a sandbox may not.

/**
 * Settles as the promise does, or rejects with the signal's reason as soon as it aborts. What the promise yields after
 * that goes to `late`, so that nothing is left lying about.
 */
export async function until<T>(
  signal: AbortSignal,
  promise: Promise<T>,
  late?: (value: T) => Promise<unknown>,
): Promise<T> {
  const abort = Promise.withResolvers<never>()
  const onAbort = () => abort.reject(signal.reason)
  if (signal.aborted) onAbort()
  else signal.addEventListener('abort', onAbort, { once: true })
  let taken = false
  try {
    const value = await Promise.race([abort.promise, promise])
    taken = true
    return value
  } finally {
    signal.removeEventListener('abort', onAbort)
    // Its failure is the promise's own or comes after everyone has left.
    if (!taken) promise.then(late, () => {}).catch(() => {})
  }
}

/** `until`, with a deadline alone. Rejects with an error that names what took too long. */
export async function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  const deadline = new AbortController()
  const timer = setTimeout(() => deadline.abort(new Error(`${what} took longer than ${ms} ms`)), ms)
  try {
    return await until(deadline.signal, promise)
  } finally {
    clearTimeout(timer)
  }
}

/** A signal that aborts with the others, or after `ms` with an error that names what took too long. */
export function deadlineSignal(ms: number, what: string, ...signals: AbortSignal[]): AbortSignal & Disposable {
  const deadline = new AbortController()
  const timer = setTimeout(() => deadline.abort(new Error(`${what} took longer than ${ms} ms`)), ms)
  const any = AbortSignal.any([deadline.signal, ...signals])
  return Object.assign(any, { [Symbol.dispose]: () => clearTimeout(timer) })
}

/** Waits for all, also when one fails: then the first failure is thrown, and nothing is still under way. */
export async function together<const T extends readonly unknown[]>(
  promises: T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  const settled = await Promise.allSettled(promises)
  for (const result of settled) if (result.status === 'rejected') throw result.reason
  return settled.map((result) => (result as PromiseFulfilledResult<unknown>).value) as never
}
