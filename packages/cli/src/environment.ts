// The one file that reads the environment.

export interface Environment {
  readonly apiKey: string | undefined
  readonly apiURL: string | undefined
  readonly domain: string | undefined
  /** State folder of the installation on this machine. */
  readonly home: string
  /** Errors are shown with their stack and causes. */
  readonly debug: boolean
}

export function readEnvironment(): Environment {
  return {
    apiKey: process.env['LELANTOS_API_KEY'] || undefined,
    apiURL: process.env['LELANTOS_API_URL'] || undefined,
    domain: process.env['LELANTOS_DOMAIN'] || undefined,
    home: process.env['LELANTOS_HOME'] || '/var/lib/lelantos',
    debug: (process.env['LELANTOS_DEBUG'] ?? '0') !== '0',
  }
}
