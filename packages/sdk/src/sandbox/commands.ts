// Running commands: `start` gives a command to follow, `run` takes one to its end.
import type { Envd } from '../envd/envd.ts'
import { LelantosError, TimeoutError } from '../errors.ts'
import { Command } from './command.ts'
import type { InputSource } from './input.ts'

export interface StartOptions {
  /** Working directory; the user's home unless given. */
  readonly cwd?: string | undefined
  /** Added to the sandbox's environment. */
  readonly envs?: Readonly<Record<string, string>> | undefined
  /** `root` unless given. */
  readonly user?: string | undefined
  /** ms after which the sandbox kills it; it may run for ever unless given. */
  readonly timeoutMs?: number | undefined
  /** Whether there is a standard input to send to; otherwise it is at its end from the start. */
  readonly stdin?: boolean | undefined
  /** Stops following it. `run` also kills it then. */
  readonly signal?: AbortSignal | undefined
}

export interface RunOptions extends Omit<StartOptions, 'stdin'> {
  /** Sent to its standard input, which is closed afterwards. */
  readonly stdin?: InputSource | undefined
  /** Gets text as it comes, never half a character. It is waited for. */
  readonly onStdout?: ((text: string) => void | Promise<void>) | undefined
  readonly onStderr?: ((text: string) => void | Promise<void>) | undefined
}

export interface CommandResult {
  readonly stdout: string
  readonly stderr: string
  /** 128 and the signal's number where a signal ended it. */
  readonly exitCode: number
}

/** Text is run by a login shell, `/bin/bash -l -c`; a list is a program with its arguments. */
export type CommandLine = string | readonly [program: string, ...args: string[]]

/** Seconds between signs of life of a silent command: what lies between would close a silent connection. */
const KEEPALIVE_SECONDS = 50
/** How much later than the sandbox the client gives up on a deadline. */
const DEADLINE_GRACE_MS = 5000

export class Commands {
  readonly #envd: Envd
  readonly #sandboxID: string

  constructor(envd: Envd, sandboxID: string) {
    this.#envd = envd
    this.#sandboxID = sandboxID
  }

  /** Starts a command; resolves when it runs. */
  async start(line: CommandLine, options: StartOptions = {}): Promise<Command> {
    const [cmd, ...args] = typeof line === 'string' ? ['/bin/bash', '-l', '-c', line] : line
    const what = `running ${quote(line)} in ${this.#sandboxID}`
    const { cwd, envs, user, timeoutMs, signal } = options
    const message = {
      process: { cmd, args, envs: envs ?? {}, ...(cwd === undefined ? {} : { cwd }) },
      stdin: options.stdin ?? false,
    }
    const headers = {
      'Keepalive-Ping-Interval': String(KEEPALIVE_SECONDS),
      ...(timeoutMs ? { 'Connect-Timeout-Ms': String(Math.ceil(timeoutMs)) } : {}),
    }
    const messages = await this.#envd.stream('process.Process/Start', message, { what, user, signal, headers })
    const first = await messages.next()
    const event = first.done ? undefined : (first.value['event'] as { start?: { pid?: unknown } } | undefined)
    const pid = event?.start?.pid
    if (typeof pid !== 'number') {
      void messages.return()
      throw new LelantosError(`${what}: the sandbox did not say that it started`, { code: 'invalid_reply' })
    }
    return new Command({ envd: this.#envd, pid, what, user, messages })
  }

  /**
   * Runs a command to its end and resolves with what it printed. An exit code other than 0 is a result, not an error.
   * Throws `TimeoutError` when `timeoutMs` has passed, and the reason of `signal` when that aborts; the command is killed
   * in both cases.
   */
  async run(line: CommandLine, options: RunOptions = {}): Promise<CommandResult> {
    const { stdin, onStdout, onStderr, signal, timeoutMs, ...rest } = options
    const limit = new Limit(timeoutMs, signal)
    try {
      const command = await this.start(line, { ...rest, timeoutMs, signal: limit.signal, stdin: stdin !== undefined })
      try {
        const feeding = stdin === undefined ? undefined : command.feed(stdin)
        feeding?.catch((error: unknown) => limit.abort(error))
        const [stdout, stderr] = [new Text(onStdout), new Text(onStderr)]
        for await (const event of command) {
          if (event.type !== 'end') await (event.type === 'stdout' ? stdout : stderr).take(event.bytes)
        }
        return { stdout: await stdout.end(), stderr: await stderr.end(), exitCode: command.exitCode ?? 0 }
      } catch (error) {
        // It would run on, with nobody to hear of it. Where the sandbox is what failed, killing fails too.
        if (command.exitCode === undefined) await command.kill().catch(() => {})
        throw error
      }
    } catch (error) {
      if (!limit.passed) throw error
      throw new TimeoutError(`running ${quote(line)} in ${this.#sandboxID} took more than ${timeoutMs} ms`, {
        code: 'command_timeout',
      })
    } finally {
      limit.release()
    }
  }
}

/** Ends a run from this side: by the caller's signal, by what feeding it threw, or when the sandbox overlooks the deadline. */
class Limit {
  passed = false
  readonly #controller = new AbortController()
  readonly #timer: ReturnType<typeof setTimeout> | undefined
  readonly #outer: AbortSignal | undefined
  readonly #follow = (): void => this.#controller.abort(this.#outer?.reason)

  constructor(timeoutMs: number | undefined, outer: AbortSignal | undefined) {
    this.#outer = outer
    if (outer?.aborted) this.#follow()
    outer?.addEventListener('abort', this.#follow, { once: true })
    if (!timeoutMs) return
    this.#timer = setTimeout(() => {
      this.passed = true
      this.#controller.abort()
    }, timeoutMs + DEADLINE_GRACE_MS)
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  abort(reason: unknown): void {
    this.#controller.abort(reason)
  }

  release(): void {
    clearTimeout(this.#timer)
    this.#outer?.removeEventListener('abort', this.#follow)
  }
}

/** Text from bytes: a character may be cut between two of them. */
class Text {
  readonly #decoder = new TextDecoder()
  readonly #parts: string[] = []
  readonly #see: ((text: string) => void | Promise<void>) | undefined

  constructor(see: ((text: string) => void | Promise<void>) | undefined) {
    this.#see = see
  }

  async take(bytes: Uint8Array): Promise<void> {
    await this.#add(this.#decoder.decode(bytes, { stream: true }))
  }

  async end(): Promise<string> {
    await this.#add(this.#decoder.decode())
    return this.#parts.join('')
  }

  async #add(text: string): Promise<void> {
    if (text === '') return
    this.#parts.push(text)
    await this.#see?.(text)
  }
}

function quote(line: CommandLine): string {
  const text = typeof line === 'string' ? line : line.join(' ')
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 59)}…` : text)
}
