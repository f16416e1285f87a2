// A command that runs in a sandbox. Its output is read by iterating over it, once:
//
//   start -> (stdout | stderr)* -> end
//
// Losing the connection does not end it: only its own end, `kill`, its deadline or the sandbox's end do.
import { base64FromBytes, bytesFromBase64 } from '../bytes.ts'
import type { Envd } from '../envd/envd.ts'
import { exitCodeOf } from '../envd/exit-status.ts'
import { LelantosError, NotFoundError } from '../errors.ts'
import { Input, type InputSource } from './input.ts'

export type CommandEvent =
  | { readonly type: 'stdout' | 'stderr'; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly type: 'end'; readonly exitCode: number }

export type Signal = 'SIGTERM' | 'SIGKILL'

type Message = Record<string, unknown>

export class Command implements AsyncIterable<CommandEvent> {
  /** Of the process in the guest. */
  readonly pid: number
  readonly #envd: Envd
  readonly #what: string
  readonly #user: string | undefined
  readonly #messages: AsyncGenerator<Message, void, void>
  #exitCode: number | undefined
  #reading = false
  #settleEnded: () => void = () => {}
  readonly #ended = new Promise<void>((resolve) => (this.#settleEnded = resolve))

  constructor(options: {
    envd: Envd
    pid: number
    what: string
    user: string | undefined
    messages: AsyncGenerator<Message, void, void>
  }) {
    this.pid = options.pid
    this.#envd = options.envd
    this.#what = options.what
    this.#user = options.user
    this.#messages = options.messages
  }

  /** The exit code, once `end` has been read; 128 and the signal's number where a signal ended it. */
  get exitCode(): number | undefined {
    return this.#exitCode
  }

  /** Output as it comes, then the end. Throws `TimeoutError` at the command's deadline, `ConnectionError` when the connection is lost. */
  async *[Symbol.asyncIterator](): AsyncGenerator<CommandEvent, void, void> {
    if (this.#reading) throw new LelantosError(`${this.#what}: its output is being read`, { code: 'invalid_option' })
    this.#reading = true
    try {
      const messages: AsyncIterable<{ event?: Message }> = this.#messages
      for await (const { event } of messages) {
        const data = event?.['data'] as { stdout?: string; stderr?: string } | undefined
        if (data?.stdout !== undefined) yield { type: 'stdout', bytes: bytesFromBase64(data.stdout) }
        if (data?.stderr !== undefined) yield { type: 'stderr', bytes: bytesFromBase64(data.stderr) }
        const end = event?.['end'] as Message | undefined
        if (end === undefined) continue
        const exitCode = (this.#exitCode = exitCodeOf(end))
        this.#settleEnded()
        yield { type: 'end', exitCode }
      }
      if (this.#exitCode === undefined) {
        throw new LelantosError(`${this.#what}: the sandbox did not say how it ended`, { code: 'invalid_reply' })
      }
    } finally {
      this.#settleEnded()
    }
  }

  /** Reads what is left of the output, drops it, and resolves with the exit code. */
  async wait(): Promise<number> {
    for await (const event of this) if (event.type === 'end') return event.exitCode
    throw new LelantosError(`${this.#what}: the sandbox did not say how it ended`, { code: 'invalid_reply' })
  }

  /** Sends bytes to the standard input. Resolves when the guest has them. Needs `stdin: true`. */
  async sendInput(bytes: Uint8Array): Promise<void> {
    await this.#call('SendInput', { input: { stdin: base64FromBytes(bytes) } }, 0)
  }

  /** Ends the standard input. */
  async closeInput(): Promise<void> {
    await this.#call('CloseStdin', {})
  }

  /**
   * Sends all of `source` to the standard input, then ends it. Resolves early when the command ends before it has taken
   * everything: what it did not read is not an error. Rejects with what the source throws. Somebody must read the output
   * meanwhile.
   */
  async feed(source: InputSource): Promise<void> {
    const input = new Input(source)
    try {
      for (;;) {
        const piece = await Promise.race([input.next(), this.#ended.then(() => 'ended' as const)])
        if (piece === 'ended') return
        if (piece === undefined) break
        if (!(await this.#unlessEnded(this.sendInput(piece)))) return
      }
      await this.#unlessEnded(this.closeInput())
    } finally {
      input.close()
    }
  }

  /** Signals the process. Resolves also when it has ended already. */
  async kill(signal: Signal = 'SIGKILL'): Promise<void> {
    try {
      await this.#call('SendSignal', { signal: `SIGNAL_${signal}` })
    } catch (error) {
      if (!(error instanceof NotFoundError)) throw error
    }
  }

  /** False when the command ended first, in which case a failure is only that. */
  async #unlessEnded(sending: Promise<void>): Promise<boolean> {
    const outcome = sending.then(
      () => undefined,
      (error: unknown) => ({ error }),
    )
    const failure = await Promise.race([outcome, this.#ended.then(() => 'ended' as const)])
    if (failure === 'ended') return false
    if (failure === undefined) return true
    // The pipe breaks a moment before the end is heard of.
    if (failure.error instanceof LelantosError && failure.error.code !== 'connection_failed') return false
    throw failure.error
  }

  async #call(method: string, message: Message, timeoutMs?: number): Promise<void> {
    await this.#envd.unary(
      `process.Process/${method}`,
      { process: { pid: this.pid }, ...message },
      { what: this.#what, user: this.#user, timeoutMs },
    )
  }
}
