// What variables a process can be given. Linux starts nothing with one that is too long, so it is refused by name here
// rather than by every command later.
import { limits, Refused } from '@lelantos-ai/contract'

const NAME = new RegExp(limits.environmentNamePattern)

/** Refuses `bad_request` for what is no variable. Values are never quoted: they may be secrets. */
export function checkVariables(field: string, variables: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(variables)) {
    if (!NAME.test(name))
      throw new Refused(
        'bad_request',
        `a name in ${field} must match ${limits.environmentNamePattern}, got ${JSON.stringify(name.slice(0, 64))}`,
      )
    const bytes = Buffer.byteLength(name) + 1 + Buffer.byteLength(value)
    if (bytes > limits.argumentBytes)
      throw new Refused(
        'bad_request',
        `${field}.${name.slice(0, 64)} must be at most ${limits.argumentBytes} bytes with its name, got ${bytes}`,
      )
  }
}
