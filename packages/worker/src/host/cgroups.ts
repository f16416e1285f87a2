/** A cgroup per machine, named by it, under one folder of the installation. Works on v2 and on v1. */
export interface Cgroups {
  /** Makes it, with its limits, and says which folders a process must be written into (`cgroup.procs` of each). */
  create(machineID: string, limits: { memoryMB: number; processes: number }): Promise<readonly string[]>
  /** Kills what is in it and removes it. Idempotent. */
  remove(machineID: string): Promise<void>
  /** Every machine that has one, with the pids in it: what the orphan sweep enumerates. */
  list(): Promise<ReadonlyMap<string, readonly number[]>>
}
