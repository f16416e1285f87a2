// What a parent and its two Node children say to each other over the descriptor they share. Secrets travel here, never in
// argv or the environment, where other processes could read them.
import type { Config } from '../config.ts'

/** Everything a role needs to start; the parent has made it all. */
export interface RoleStart {
  readonly config: Config
  readonly installation: string
  readonly installationKey: string
  readonly subnet: string
  readonly uidBase: number
  readonly natsURL: string
  readonly natsToken: string | undefined
  readonly version: string
}

export interface ServerStart extends RoleStart {
  /** Folder of the private PostgreSQL's socket, or the URL of a shared one. */
  readonly database: { readonly socketFolder: string; readonly user: string } | { readonly url: string }
  /** Who the process becomes before it listens: it faces the network. */
  readonly becomes: { readonly uid: number; readonly gid: number }
}

export interface WorkerStart extends RoleStart {
  readonly workerID: string
  readonly accelerator: 'kvm' | 'tcg'
  /** Rate of the host's time-stamp counter: a guest in software runs at it. */
  readonly tscKHz: number
  /** The user that may open connections to guests, besides root. */
  readonly serverUID: number
  readonly artifacts: {
    readonly kernel: string
    readonly initramfs: string
    readonly image: string
    readonly madeWith: { readonly kernel: string; readonly guest: string; readonly image: string }
  }
}

/** How running sandboxes are treated when an installation goes down. */
export type Suspension = 'pause' | 'kill' | 'keep'

export type ToServer =
  | { readonly kind: 'start'; readonly start: ServerStart }
  /** Is this key valid? If not, or if there is none, the server makes one. */
  | { readonly kind: 'key'; readonly key: string | undefined }
  | { readonly kind: 'suspend'; readonly mode: 'pause' | 'kill' }
  /** The worker is ready: bring back what the last `down` paused. */
  | { readonly kind: 'wake' }
  | { readonly kind: 'stop' }

export type FromServer =
  | { readonly kind: 'ready'; readonly port: number }
  | { readonly kind: 'key'; readonly key: string }
  | { readonly kind: 'progress'; readonly text: string }
  | { readonly kind: 'suspended'; readonly failed: number }
  | { readonly kind: 'woken'; readonly resumed: number; readonly failed: number }
  | { readonly kind: 'failed'; readonly message: string }

export type ToWorker =
  | { readonly kind: 'start'; readonly start: WorkerStart }
  | { readonly kind: 'inspect'; readonly request: number; readonly sandboxID: string }
  | { readonly kind: 'stop'; readonly machines: 'keep' | 'end' }

export type FromWorker =
  | { readonly kind: 'progress'; readonly text: string }
  | { readonly kind: 'ready' }
  | { readonly kind: 'inspected'; readonly request: number; readonly found: unknown }
  | { readonly kind: 'failed'; readonly message: string }
