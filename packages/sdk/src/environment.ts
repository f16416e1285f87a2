// The one file that reads the environment. Browsers and edge runtimes have no `process`: there everything is absent.

/** A variable's value; undefined where it is not set, is empty, or the platform has no environment. */
export function environmentVariable(name: string): string | undefined {
  const { process } = globalThis as unknown as { process?: { env?: Record<string, string | undefined> } }
  return process?.env?.[name] || undefined
}
