// Whether the API can listen where it was told to, asked before anything is installed or started.
import { once } from 'node:events'
import { createServer } from 'node:net'
import { ConfigError } from './config.ts'

/** Throws `ConfigError` when the address is another program's, or none of this machine. */
export async function mustBeFree({ host, port }: { readonly host: string; readonly port: number }): Promise<void> {
  const server = createServer()
  try {
    server.listen(port, host)
    await once(server, 'listening')
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    if (code === 'EADDRINUSE')
      throw new ConfigError(`port ${port} of ${host} is taken by another program: choose another with --port`, {
        cause,
      })
    throw new ConfigError(`--host ${host} cannot be listened on: ${(cause as Error).message}`, { cause })
  } finally {
    server.close()
  }
}
