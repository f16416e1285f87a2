// The bus carries orders and reports and is never the truth: what it loses is sent again by whoever needs it to arrive.
// A port of four verbs; adapters are in the daemon (NATS) and beside this file for tests (`bus-memory.ts`).

export interface Subscription extends AsyncDisposable {}

export interface Bus {
  /** Sends and waits for one reply. Rejects with `BusError` when nobody listens, the connection is away, or `timeoutMs` passes. */
  request(subject: string, message: unknown, options: { timeoutMs: number }): Promise<unknown>
  /** Answers every message on a subject. What the function throws reaches the requester as `BusError` of kind `failed`. */
  reply(subject: string, answer: (message: unknown) => Promise<unknown>): Promise<Subscription>
  /** Sends, and forgets. Never throws: what must arrive is repeated by its sender. */
  publish(subject: string, message: unknown): void
  /** Sees every message on a subject. */
  watch(subject: string, see: (message: unknown) => void): Promise<Subscription>
}

export type BusErrorKind = 'nobody' | 'timeout' | 'away' | 'failed'

export class BusError extends Error {
  readonly kind: BusErrorKind
  constructor(kind: BusErrorKind, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'BusError'
    this.kind = kind
  }
}

/** Subjects carry the installation, so that two of them can share a bus. */
export const subjects = {
  /** request: `Order` -> `OrderReply` */
  order: (installation: string, workerID: string): string => `lel.${installation}.order.${workerID}`,
  /** request: `Report` -> `ReportReply` */
  report: (installation: string): string => `lel.${installation}.report`,
  /** publish: `Statement`, once a second */
  statement: (installation: string): string => `lel.${installation}.statement`,
} as const
