// `client.json`: how programs on this machine find its installation. `up` writes it, `env` and the CLI read it.
import { readFile } from 'node:fs/promises'
import { writeDurably } from '@lelantos-ai/worker/host/durable'
import type { Home } from './home.ts'

export interface ClientFile {
  readonly apiURL: string
  readonly apiKey: string
  readonly domain: string
}

/** Rejects with the system's error where it is not there, or is not ours to read. */
export async function readClientFile(home: Home): Promise<ClientFile> {
  return JSON.parse(await readFile(home.client, 'utf8')) as ClientFile
}

/** The key opens the installation: only root may read it. */
export async function writeClientFile(home: Home, client: ClientFile): Promise<void> {
  await writeDurably(home.client, JSON.stringify(client, undefined, 2), 0o600)
}
