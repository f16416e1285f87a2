// Exit codes, each once: the help prints this table, errors are mapped by it.

import { printable } from './output.ts'

export const exitCodes = {
  ok: 0,
  failure: 1,
  usage: 2,
  notFound: 3,
  authentication: 4,
  unavailable: 5,
  interrupted: 130,
  /** As a shell says of a program that wrote to a closed pipe. */
  brokenPipe: 141,
} as const

export const exitCodesHelp = `Exit codes:
  0    done
  1    failed
  2    wrong usage, or an id prefix that fits several
  3    no such sandbox, template, key or file
  4    the API key is missing or not valid
  5    unavailable: no connection, no capacity, or no answer in time
  130  interrupted (143: terminated)
  exec and run pass on the exit code of their command (128 + n where signal n ended it).`

/** A failure with its exit code. The message is one line: the thing, the limit, the way out. */
export class Failure extends Error {
  readonly exitCode: number
  constructor(exitCode: number, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'Failure'
    this.exitCode = exitCode
  }
}

/** Ctrl-C or SIGTERM. */
export class Interrupted extends Failure {
  constructor(signal: NodeJS.Signals) {
    super(signal === 'SIGTERM' ? 143 : exitCodes.interrupted, 'interrupted')
    this.name = 'Interrupted'
  }
}

/** By name, so that asking costs no import of the SDK. */
const byName: Readonly<Record<string, number>> = {
  InvalidRequestError: exitCodes.usage,
  NotFoundError: exitCodes.notFound,
  AuthenticationError: exitCodes.authentication,
  RateLimitError: exitCodes.unavailable,
  UnavailableError: exitCodes.unavailable,
  CapacityError: exitCodes.unavailable,
  ConnectionError: exitCodes.unavailable,
  TimeoutError: exitCodes.unavailable,
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof Failure) return error.exitCode
  return error instanceof Error ? (byName[error.name] ?? exitCodes.failure) : exitCodes.failure
}

const wayOut: Readonly<Record<string, string>> = {
  unauthorized: 'set LELANTOS_API_KEY, or: eval "$(./lelantos env)"',
  connection_failed: 'is it up? ./lelantos up',
  capacity_unavailable: 'kill or pause a sandbox first: lelantos ls',
  sandbox_not_found: '`lelantos ls --all` lists those that have ended too',
  template_not_found: '`lelantos template ls` lists what there is',
  key_not_found: '`lelantos key ls` lists what there is',
  not_paused: '`lelantos get ID` shows its state',
  sandbox_not_running: '`lelantos get ID` shows its state',
}

/** What is printed of an error: one line, or everything where `debug` is set. */
export function describe(error: unknown, debug: boolean): string {
  if (!(error instanceof Error)) return `lelantos: ${String(error)}`
  const { code, requestId } = error as { code?: unknown; requestId?: unknown }
  const hint = typeof code === 'string' ? wayOut[code] : undefined
  const request = typeof requestId === 'string' ? ` (request ${requestId})` : ''
  const line = `lelantos: ${printable(error.message.replaceAll('\n', ' '))}${request}${hint === undefined ? '' : `; ${hint}`}`
  return debug ? `${line}\n${stacks(error)}` : line
}

function stacks(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${stacks(error.cause)}` : ''
  return `${error.stack ?? error.message}${cause}`
}
