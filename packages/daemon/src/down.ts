// `down`: treats what runs as told, then stops everything in order.
import { type Flags, readConfig } from './config.ts'
import { askControl, NotRunning } from './control.ts'
import { homeAt } from './home.ts'
import type { Suspension } from './roles/messages.ts'

export interface DownFlags extends Flags {
  readonly kill?: boolean
  readonly keepVms?: boolean
  readonly json?: boolean
}

/** Resolves with the exit code: 0 when all of it is down, 1 when sandboxes had to be left running. */
export async function down(flags: DownFlags): Promise<number> {
  const mode: Suspension = flags.kill === true ? 'kill' : flags.keepVms === true ? 'keep' : 'pause'
  try {
    const { failed } = ((await askControl(
      homeAt(readConfig(flags).home).controlSocket,
      { verb: 'down', mode },
      (text) => process.stderr.write(`${text}\n`),
    )) ?? { failed: 0 }) as { failed: number }
    tell(flags, { state: 'down', failed })
    return failed === 0 ? 0 : 1
  } catch (error) {
    if (!(error instanceof NotRunning)) throw error
    tell(flags, { state: 'not running', failed: 0 })
    return 0
  }
}

/** `failed`: how many sandboxes had to be left running. */
function tell({ json }: DownFlags, result: { readonly state: string; readonly failed: number }): void {
  if (json === true) process.stdout.write(`${JSON.stringify(result)}\n`)
  else process.stderr.write(`${result.state}\n`)
}
