// `inspect`: where a sandbox lives on this host.
import { readConfig } from './config.ts'
import { askControl } from './control.ts'
import { homeAt } from './home.ts'

export async function inspect(sandboxID: string, flags: { json?: boolean }): Promise<number> {
  const found = await askControl(homeAt(readConfig().home).controlSocket, { verb: 'inspect', sandboxID })
  if (found === undefined || found === null) {
    process.stderr.write(`this host has no machine for ${sandboxID}\n`)
    return 1
  }
  if (flags.json === true) process.stdout.write(`${JSON.stringify(found, undefined, 2)}\n`)
  else
    for (const [name, value] of Object.entries(found))
      process.stdout.write(`${name.padEnd(12)} ${typeof value === 'object' ? JSON.stringify(value) : String(value)}\n`)
  return 0
}
