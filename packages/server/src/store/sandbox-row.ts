// A row of `sandboxes` as the rest of the server sees it.
import type { Selectable } from 'kysely'
import type { Sandbox } from '../sandboxes/sandbox.ts'
import type { SandboxTable } from './tables.ts'

export function sandboxOf(row: Selectable<SandboxTable>): Sandbox {
  return {
    sandboxID: row.sandbox_id,
    teamID: row.team_id,
    templateID: row.template_id,
    alias: row.alias,
    buildID: row.build_id,
    state: row.state,
    generation: row.generation,
    machineGeneration: row.machine_generation,
    workerID: row.worker_id,
    machineID: row.machine_id,
    address: row.address,
    snapshotID: row.snapshot_id,
    createdAt: row.created_at,
    startedAt: row.started_at,
    endAt: row.end_at,
    timeoutSeconds: row.timeout_seconds,
    cpuCount: row.cpu_count,
    memoryMB: row.memory_mb,
    diskSizeMB: row.disk_size_mb,
    metadata: row.metadata,
    envdVersion: row.envd_version,
    endReason: row.end_reason,
    endedAt: row.ended_at,
    failure: row.failure,
    placements: row.placements,
    resumeAtStart: row.resume_at_start,
    remainingMs: row.remaining_ms === null ? null : Number(row.remaining_ms),
  }
}
