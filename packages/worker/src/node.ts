// What a worker node is made of, as its supervisors see it. The composition root fills in the ports; the rest is
// `startWorker`'s own.
import type { Log } from '@lelantos-ai/contract'
import type { Admission } from './admission.ts'
import type { Engine } from './engines/engine.ts'
import type { Guest } from './guest/guest.ts'
import type { Cgroups } from './host/cgroups.ts'
import type { Slots } from './net/slot.ts'
import type { Reports } from './reports.ts'
import type { Roster } from './roster.ts'
import type { Snapshots } from './snapshots/snapshots.ts'
import type { Templates } from './templates.ts'
import type { Turns } from './turns.ts'
import type { Volume } from './volume/volume.ts'

export interface Ports {
  readonly engine: Engine
  readonly slots: Slots
  readonly volume: Volume
  readonly snapshots: Snapshots
  readonly cgroups: Cgroups
  readonly guest: Guest
}

export interface Clock {
  /** Wall clock, ms since 1970. */
  now(): number
}

export interface WorkerNode extends Ports {
  /** Six hex digits, in the name of everything on this host. */
  readonly installation: string
  readonly installationKey: Uint8Array
  readonly workerID: string
  /** Of this boot of the host: machines of another one are gone. */
  readonly bootID: string
  readonly clock: Clock
  readonly log: Log
  readonly roster: Roster
  readonly admission: Admission
  /** Restores are work for the CPU: they run as wide as there are cores, no wider. */
  readonly restores: Turns
  readonly templates: Templates
  readonly reports: Reports
  /** Something that the next statement would say has changed. */
  changed(): void
  /** Room has been made. Said at once: a server that hears the outcome must know of the room by then. */
  freed(): void
}
