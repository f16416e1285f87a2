import type { Verb } from '@lelantos-ai/contract'
export interface StoredOrder {
  readonly operationID: string
  readonly sandboxID: string
  readonly generation: number
  readonly workerID: string
  readonly verb: Verb
  readonly args: Readonly<Record<string, unknown>>
  readonly attempts: number
}
