// A template as verbs and `http/` see it: what sandboxes are made from, and its newest build.

export interface Template {
  readonly templateID: string
  readonly name: string
  /** Whose it is; null for those that come built, which every team can use. */
  readonly teamID: string | null
  readonly buildID: string
  readonly cpuCount: number
  readonly memoryMB: number
  readonly diskSizeMB: number
  readonly envdVersion: string
  readonly createdAt: Date
  readonly updatedAt: Date
  readonly lastSpawnedAt: Date | null
  readonly spawnCount: number
  readonly buildCount: number
}
