// What the server must hear although it did not ask, repeated until it has taken it.
import { type Bus, type Log, type Report, type ReportReply, subjects } from '@lelantos-ai/contract'

interface Pending {
  readonly report: Report
  readonly taken: (() => void) | undefined
}

const REPEAT_MS = 1000

export class Reports implements Disposable {
  readonly #bus: Bus
  readonly #subject: string
  readonly #log: Log
  /** The newest of each kind about each sandbox: an older one is of no use to anyone. */
  readonly #pending = new Map<string, Pending>()
  readonly #underWay = new Set<string>()
  readonly #timer: NodeJS.Timeout

  constructor(bus: Bus, installation: string, log: Log) {
    this.#bus = bus
    this.#subject = subjects.report(installation)
    this.#log = log
    this.#timer = setInterval(() => this.#pending.forEach((_, key) => this.#send(key)), REPEAT_MS)
  }

  /** Sends it now, and again each second until the server has taken it. */
  send(report: Report, taken?: () => void): void {
    const key = `${report.sandboxID} ${report.event.kind}`
    this.#pending.set(key, { report, taken })
    this.#send(key)
  }

  /** A newer order tells the server more than a report about an older one. */
  forget(sandboxID: string): void {
    this.#pending.delete(`${sandboxID} settled`)
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
    this.#pending.clear()
  }

  #send(key: string): void {
    const pending = this.#pending.get(key)
    if (pending === undefined || this.#underWay.has(key)) return
    this.#underWay.add(key)
    const { sandboxID } = pending.report
    this.#bus
      .request(this.#subject, pending.report, { timeoutMs: REPEAT_MS })
      .then(
        (reply) => {
          if ((reply as ReportReply | undefined)?.taken !== true) return
          if (this.#pending.get(key) === pending) this.#pending.delete(key)
          pending.taken?.()
        },
        (err: unknown) => this.#log.debug({ err, sandboxID }, 'a report was not taken yet'),
      )
      .finally(() => {
        this.#underWay.delete(key)
        // One that came meanwhile need not wait for the next round.
        if (this.#pending.has(key) && this.#pending.get(key) !== pending) this.#send(key)
      })
      .catch((err: unknown) => this.#log.error({ err, sandboxID }, 'a report could not be dealt with'))
  }
}
