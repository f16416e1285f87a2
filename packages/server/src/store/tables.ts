// The tables, as Kysely sees them. The migrations beside this file are what makes them.
import type { ColumnType, Generated, JSONColumnType } from 'kysely'
import type { EndReason, EventName, State, Verb } from '@lelantos-ai/contract'
import type { Failure } from '../sandboxes/sandbox.ts'

export interface Tables {
  teams: { team_id: string; name: string; created_at: Date }
  api_keys: {
    key_id: string
    team_id: string
    name: string
    hash: string
    mask: string
    created_at: Date
    last_used_at: Date | null
  }
  templates: {
    template_id: string
    team_id: string | null
    name: string
    created_at: Date
    updated_at: Date
  }
  builds: {
    build_id: string
    template_id: string
    cpu_count: number
    memory_mb: number
    disk_size_mb: number
    envd_version: string
    created_at: Date
  }
  sandboxes: SandboxTable
  snapshots: {
    snapshot_id: string
    sandbox_id: string
    team_id: string
    build_id: string
    worker_id: string
    bytes: ColumnType<string, number, number>
    created_at: Date
  }
  events: { sandbox_id: string; team_id: string; sequence: number; at: Date; name: EventName; line: string }
  orders: {
    operation_id: string
    sandbox_id: string
    generation: number
    worker_id: string
    verb: Verb
    args: JSONColumnType<Record<string, unknown>>
    attempts: number
    next_at: Date
    created_at: Date
    settled_at: Date | null
  }
  workers: {
    worker_id: string
    hostname: string
    boot_id: string
    engine: string
    version: string
    total_mb: number
    reserved_mb: number
    last_seen: Date
  }
  idempotency_keys: {
    team_id: string
    key: string
    body_hash: string
    sandbox_id: string
    expires_at: Date
  }
}

export interface SandboxTable {
  sandbox_id: string
  team_id: string
  template_id: string
  alias: string | null
  build_id: string
  state: State
  /** Counts the orders: each is one higher than the one before. */
  generation: number
  /** Generation of the order that made the present machine: a report about an older one is late. */
  machine_generation: number
  worker_id: string
  /** The boot of the worker's host that the machine was made in. */
  boot_id: string
  machine_id: string | null
  address: string | null
  snapshot_id: string | null
  created_at: Date
  /** When it first ran. */
  started_at: Date | null
  moved_at: Date
  transition_deadline: Date | null
  end_at: Date | null
  timeout_seconds: number
  cpu_count: number
  memory_mb: number
  disk_size_mb: number
  metadata: JSONColumnType<Record<string, string>>
  envd_version: string
  event_count: Generated<number>
  /** Workers that were asked to create it. */
  placements: string[]
  failure: JSONColumnType<Failure | null, string | null, string | null>
  end_reason: EndReason | null
  ended_at: Date | null
  /** Paused by the host's shutdown: the next start resumes it, with what was left of its time. */
  resume_at_start: Generated<boolean>
  remaining_ms: ColumnType<string | null, number | null | undefined, number | null>
}
