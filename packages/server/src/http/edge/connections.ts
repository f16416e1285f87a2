// Connections to guests, kept alive per machine. A sandbox that moves gets another machine: what still hangs on the old
// one is cut then, since nothing on the network would say so to a stream that only waits.
import { Agent } from 'node:http'

/** Below what common servers keep an idle connection for (uvicorn and Node close theirs after 5 s), so that requests do not meet a closing one. */
const IDLE_MS = 4000
const FREE_SOCKETS_MAX = 64
/** A machine that nobody has asked for in this time, and that has no stream open, is forgotten. */
const FORGET_MS = 60_000

interface Entry {
  readonly machine: string
  /** Keeps connections alive for the next request. */
  readonly kept: Agent
  /** Opens one for each request. */
  readonly fresh: Agent
  /** Cuts streams that left the agent: upgraded connections. */
  readonly upgraded: Set<{ destroy(): unknown }>
  /** ms of `performance.now()` */
  readonly since: number
  usedAt: number
}

export class Connections {
  readonly #entries = new Map<string, Entry>()

  /** The connections to a sandbox on this machine; those to an earlier machine of it are cut. */
  to(sandboxID: string, machine: string): Entry {
    const now = performance.now()
    const present = this.#entries.get(sandboxID)
    if (present?.machine === machine) {
      present.usedAt = now
      return present
    }
    this.cut(sandboxID)
    const kept = new Agent({ keepAlive: true, timeout: IDLE_MS, maxFreeSockets: FREE_SOCKETS_MAX, scheduling: 'lifo' })
    const fresh = new Agent({ keepAlive: false })
    const entry: Entry = { machine, kept, fresh, upgraded: new Set(), since: now, usedAt: now }
    this.#entries.set(sandboxID, entry)
    return entry
  }

  /** Ends every connection to the sandbox, in use or idle. */
  cut(sandboxID: string): void {
    const entry = this.#entries.get(sandboxID)
    if (entry === undefined) return
    this.#entries.delete(sandboxID)
    entry.kept.destroy()
    entry.fresh.destroy()
    for (const socket of entry.upgraded) socket.destroy()
  }

  /** The sandboxes with a request or a stream under way, with the machine each is to. Forgets the idle ones. */
  busy(): { sandboxID: string; machine: string }[] {
    const busy: { sandboxID: string; machine: string }[] = []
    for (const [sandboxID, entry] of this.#entries) {
      if (entry.upgraded.size > 0 || inUse(entry.kept) || inUse(entry.fresh))
        busy.push({ sandboxID, machine: entry.machine })
      else if (performance.now() - entry.usedAt > FORGET_MS) this.cut(sandboxID)
    }
    return busy
  }

  close(): void {
    for (const sandboxID of this.#entries.keys()) this.cut(sandboxID)
  }
}

function inUse(agent: Agent): boolean {
  for (const _ in agent.sockets) return true
  return false
}

export type { Entry as Connected }
