// Why an operation did not do what was ordered, as the server hears it.
import type { FailureCode, Outcome } from '@lelantos-ai/contract'
import { EngineError, type Exit } from './engines/engine.ts'
import { GuestError } from './guest/guest.ts'
import { SnapshotError } from './snapshots/snapshots.ts'

/** A refusal, or a failure whose code is known where it happens. */
export class OperationFailed extends Error {
  readonly code: FailureCode
  constructor(code: FailureCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'OperationFailed'
    this.code = code
  }
}

/** The machine ended while something was being done with it. */
export class MachineGone extends OperationFailed {
  readonly exit: Exit
  constructor(exit: Exit) {
    super('ended', `the machine has ended (${exit.reason}): ${exit.message}`)
    this.name = 'MachineGone'
    this.exit = exit
  }
}

const MESSAGE_LENGTH = 2000

export function failed(code: FailureCode, message: string): Outcome {
  return { status: 'failed', code, message: message.slice(0, MESSAGE_LENGTH) }
}

/** The outcome that an exception means. Its message carries the causes, since the worker's log is not the server's. */
export function failureOf(error: unknown): Outcome {
  return failed(codeOf(error), messageOf(error))
}

function codeOf(error: unknown): FailureCode {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof OperationFailed || at instanceof SnapshotError) return at.code
    if ('code' in at && (at.code === 'ENOSPC' || at.code === 'EDQUOT')) return 'disk_full'
    if (at instanceof GuestError) return 'guest'
    if (at instanceof EngineError) return 'engine'
    if (at instanceof SuppressedError) return codeOf(at.suppressed)
  }
  return 'engine'
}

export function messageOf(error: unknown): string {
  if (error instanceof SuppressedError)
    return `${messageOf(error.suppressed)} (and giving back what it had failed: ${messageOf(error.error)})`
  if (!(error instanceof Error)) return String(error)
  return error.cause === undefined ? error.message : `${error.message}: ${messageOf(error.cause)}`
}
