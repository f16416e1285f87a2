// For tests: the command as a process of its own, as a shell would start it.
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const MAIN = fileURLToPath(new URL('../../packages/cli/src/main.ts', import.meta.url))

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Running {
  readonly child: ChildProcess
  readonly ended: Promise<Ran>
}

/** Runs `lelantos` to its end. */
export async function lelantos(...call: Parameters<typeof start>): Promise<Ran> {
  return await start(...call).ended
}

/** Starts `lelantos` with these arguments; `input` is piped in, otherwise stdin is /dev/null. */
export function start(
  server: { readonly url: string; readonly apiKey: string } | undefined,
  argv: readonly string[],
  options: { input?: string; env?: Record<string, string> } = {},
): Running {
  const access: Record<string, string> =
    server === undefined ? {} : { LELANTOS_API_KEY: server.apiKey, LELANTOS_API_URL: server.url }
  const child = spawn(process.execPath, ['--conditions=source', MAIN, ...argv], {
    // Nothing of the environment that the tests run in: it may name an installation.
    env: { PATH: '/usr/bin:/bin', LELANTOS_HOME: '/nonexistent', ...access, ...options.env },
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  })
  if (options.input !== undefined) child.stdin?.end(options.input)
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout?.on('data', (chunk: Buffer) => out.push(chunk))
  child.stderr?.on('data', (chunk: Buffer) => err.push(chunk))
  const ended = new Promise<Ran>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) =>
      resolve({ code, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }),
    )
  })
  return { child, ended }
}
