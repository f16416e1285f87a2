/** What a worker asks of the daemon in a guest. The guest is never trusted: replies are bounded in size and time, and nothing in them is used as a path, a size or a command. */
export interface Guest {
  /**
   * Makes a restored guest unique and on time, then opens it: entropy, clock, token, environment, host name. Resolves only
   * when the guest has confirmed all of it. Rejects with `GuestError` at the deadline or when the guest refuses.
   */
  init(address: string, secret: string, init: GuestInit, signal: AbortSignal): Promise<void>
  /** Sets the clock alone. */
  setClock(address: string, secret: string, signal: AbortSignal): Promise<void>
  /** Resolves when the daemon answers. */
  healthy(address: string, signal: AbortSignal): Promise<void>
  /**
   * Runs the shell, the languages and the daemon a few times, so that a snapshot taken afterwards has their pages in
   * memory, and writes the file systems to their disks. The token is that of the last `init`.
   */
  exercise(address: string, accessToken: string, signal: AbortSignal): Promise<void>
}

export interface GuestInit {
  readonly sandboxID: string
  readonly templateID: string
  readonly accessToken: string
  /** Replaces the environment of the sandbox; absent at a resume, where memory still holds it. */
  readonly envVars?: Readonly<Record<string, string>>
  readonly hostname: string
}

export class GuestError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'GuestError'
  }
}
