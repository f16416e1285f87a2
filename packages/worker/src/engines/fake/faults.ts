// What can go wrong with an engine, on demand.

export type Verb = 'boot' | 'restore' | 'adopt' | 'run' | 'stop' | 'save' | 'kill'

export type Fault =
  /** It works, later. */
  | { readonly kind: 'slow'; readonly ms: number }
  /** It rejects, and nothing has changed. */
  | { readonly kind: 'fail'; readonly message: string; readonly code?: string }
  /** It neither resolves nor rejects until it is aborted or the machine ends. */
  | { readonly kind: 'hang' }
  /** The VMM ends in the middle. */
  | { readonly kind: 'die' }

export class Faults {
  readonly #next = new Map<Verb, Fault[]>()

  /** The next call of the verb, by whichever machine, meets this fault; several are met one after another. */
  inject(verb: Verb, ...faults: readonly Fault[]): void {
    this.#next.set(verb, [...(this.#next.get(verb) ?? []), ...faults])
  }

  /** Forgets what has not been met. */
  clear(): void {
    this.#next.clear()
  }

  take(verb: Verb): Fault | undefined {
    return this.#next.get(verb)?.shift()
  }
}
