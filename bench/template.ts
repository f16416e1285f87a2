// The base template's snapshot of a running installation, for the bare command to restore.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { silentLog } from '@lelantos-ai/contract'
import { openSnapshots } from '@lelantos-ai/worker/snapshots/open'
import type { SealedSnapshot } from '@lelantos-ai/worker/snapshots/snapshots'

/** `memory` is where some sandbox of the template has its memory from (`inspect`): the snapshot's folder names it. */
export async function openTemplate(home: string, memory: string): Promise<SealedSnapshot> {
  const installationKey = Buffer.from((await readFile(join(home, 'installation.key'), 'utf8')).trim(), 'hex')
  await using snapshots = await openSnapshots({ root: join(home, 'vm'), installationKey, log: silentLog })
  const snapshotID = memory.split('/').at(-2) ?? ''
  return await snapshots.open(snapshotID)
}
