// Tells when a VMM has ended, whoever its parent is: it is looked at every 250 ms, and at once on a hint.
import { isAlive, type ProcessIdentity } from '../host/process.ts'

const LOOK_MS = 250

export class ExitWatch implements Disposable {
  readonly #process: ProcessIdentity
  readonly #timer: NodeJS.Timeout
  #resolve: () => void = () => {}
  /** Settles when it is gone; never after the watch is disposed of. */
  readonly gone: Promise<void>

  constructor(process: ProcessIdentity) {
    this.#process = process
    this.gone = new Promise((resolve) => {
      this.#resolve = resolve
    })
    this.#timer = setInterval(() => this.look(), LOOK_MS)
    this.#timer.unref()
  }

  /** A hint that it may have ended: a closed socket, a kill. */
  look(): void {
    if (isAlive(this.#process)) return
    clearInterval(this.#timer)
    this.#resolve()
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }
}
