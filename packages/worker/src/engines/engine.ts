// An engine yields machines, by three verbs; a machine is running or stopped, and what can be done to it follows from
// which. Everything Lelantos does with snapshots is made of these calls:
//
//   template   boot, exercise, stop, save, kill          create, resume   restore, run, /init
//   pause      stop, save, kill                          live snapshot    stop, save, run
//   warm pool  restore, run, exercise, stop | run        fork n           live snapshot, n x (restore, run, /init)
//
// No code outside `engines/<name>` knows an engine's name: what differs is data (`can`, `world`).
// One suite (`conformance.ts`) covers every engine, the fake included.
import type { Slot } from '../net/slot.ts'

/** What a machine has. MB means MiB. */
export interface Shape {
  readonly cpuCount: number
  readonly memoryMB: number
  readonly diskSizeMB: number
}

/**
 * What a snapshot must fit: a restore is refused, before any process starts, on a host that differs in one of these.
 * Compared field by field, `tscKHz` within 200 ppm (rates are calibrated anew at each boot of a host).
 */
export interface World {
  readonly engine: string
  /** Version of the engine and of its state format: `10.0.2`. */
  readonly version: string
  /** Changes whenever the list of devices or a machine option does. */
  readonly devices: string
  readonly accelerator: string
  /** The CPU that the guest sees; of KVM the host's model, since the guest was started on it. */
  readonly cpu: string
  /** Only where the guest's clock runs at the host's TSC rate. */
  readonly tscKHz?: number
  readonly shape: Shape
}

export interface Capabilities {
  /** Memory that a machine costs its host beyond the guest's, in MB. */
  readonly overheadMB: number
  /** For people: `qemu (tcg)`. */
  readonly label: string
}

/** Where a machine lives on this host. Everything in it exists before the engine is called, and is removed by the caller after `exited`. */
export interface Place {
  /** Names the process, the cgroup and the folder. */
  readonly machineID: string
  /** On the VM volume, owned by the slot's uid, mode 0700: sockets, overlay, log. */
  readonly folder: string
  readonly slot: Slot
  /** Absolute paths of the cgroup's folders (one under v2, one per controller under v1): the VMM's pid is written to `cgroup.procs` of each before it runs. */
  readonly cgroups: readonly string[]
  readonly shape: Shape
}

export interface BootSpec extends Place {
  /** Uncompressed or bzImage kernel and initramfs, absolute paths. */
  readonly kernel: string
  readonly initramfs: string
  /** Raw disk image that the machine writes into. The file becomes part of what `save` yields. */
  readonly disk: string
  /** Where the guest's console goes; nowhere unless given. */
  readonly consoleLog?: string
}

/** A sealed snapshot: immutable files, absolute paths (`snapshots/`). Restoring writes into none of them. */
export interface Snapshot {
  readonly snapshotID: string
  readonly memory: string
  readonly state: string
  /** A raw image first, then the overlays above it in order. */
  readonly disks: readonly string[]
  readonly world: World
}

/** A file that `save` has written (or linked) into its folder. */
export interface SavedFile {
  /** Name in the folder. */
  readonly name: string
  /**
   * A sealed file that this one equals except for the chunks listed (numbers of 2 MiB chunks): the others inherit their
   * hash. A hard link of it lists none.
   */
  readonly inherits?: { readonly from: string; readonly changed: readonly number[] }
}

export interface Saved {
  readonly world: World
  /** Absent when only the disk was saved. */
  readonly memory?: SavedFile
  readonly state?: SavedFile
  readonly disks: readonly SavedFile[]
}

/** Plain data that finds a machine again after a restart of the worker; on disk before the machine is used. */
export interface Handle {
  readonly engine: string
  readonly machineID: string
  readonly pid: number
  /** Field 22 of /proc/PID/stat, clock ticks since the host's boot: with the pid it names a process for good. */
  readonly startTime: number
  readonly folder: string
  /** Whatever else the engine needs to take it over: sockets, the files that its memory and disk are over. */
  readonly private: Readonly<Record<string, unknown>>
}

/** How a machine ended. `guest_reset` and `guest_shutdown` are the guest's own doing. */
export interface Exit {
  readonly reason: 'killed' | 'guest_shutdown' | 'guest_reset' | 'vmm_died'
  readonly message: string
}

export interface Machine {
  readonly handle: Handle
  /** Settles once, within 500 ms of the end, and never rejects. */
  readonly exited: Promise<Exit>
  /** Ends it at once. Idempotent; leaves no process behind. */
  kill(): Promise<void>
}

export interface Running extends Machine {
  readonly phase: 'running'
  /** Stops the vCPUs; the disk is flushed. */
  stop(): Promise<Stopped>
}

export interface Stopped extends Machine {
  readonly phase: 'stopped'
  run(): Promise<Running>
  /**
   * Writes what the machine is into a folder that exists and is empty, on the same volume. What it yields is never
   * written again by this machine, which may run on. Files are not yet durable: sealing (`snapshots/seal.ts`) syncs them.
   */
  save(into: string, what: { readonly memory: boolean }): Promise<Saved>
}

export interface Engine {
  readonly name: string
  readonly can: Capabilities
  /** What a snapshot made here now would have to fit. */
  world(shape: Shape): World
  boot(spec: BootSpec, signal: AbortSignal): Promise<Running>
  /** The machine comes up stopped, its memory and disk private copies on write. */
  restore(snapshot: Snapshot, place: Place, signal: AbortSignal): Promise<Stopped>
  /** Takes a machine over after a restart of the worker; `undefined` when it is gone. Checks pid, start time and executable. */
  adopt(handle: Handle, signal: AbortSignal): Promise<Running | Stopped | undefined>
}

/** A fault of an engine or of what it runs: the message names the machine and what failed. */
export class EngineError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'EngineError'
  }
}
