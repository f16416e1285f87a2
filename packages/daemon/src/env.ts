// `env`: what a shell must export so that the SDKs, E2B's included, find this installation.
import { type ClientFile, readClientFile } from './client-file.ts'
import { readConfig } from './config.ts'
import { homeAt } from './home.ts'

/** Lines for `eval`; as JSON where asked. Rejects when there is no installation yet. */
export async function environment(): Promise<Record<string, string>> {
  const home = homeAt(readConfig().home)
  let client: ClientFile
  try {
    client = await readClientFile(home)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EACCES')
      throw new Error('only root can read the API key of this installation: run it with sudo', { cause })
    throw new Error(`there is no installation in ${home.folder} yet: start one with ./lelantos up`, { cause })
  }
  return {
    LELANTOS_API_URL: client.apiURL,
    LELANTOS_API_KEY: client.apiKey,
    LELANTOS_DOMAIN: client.domain,
    E2B_API_URL: client.apiURL,
    E2B_SANDBOX_URL: client.apiURL,
    E2B_API_KEY: client.apiKey.replace(/^lel_/, 'e2b_'),
    E2B_DOMAIN: client.domain,
  }
}

export function exportLines(values: Record<string, string>): string {
  return Object.entries(values)
    .map(([name, value]) => `export ${name}='${value.replaceAll("'", "'\\''")}'\n`)
    .join('')
}
