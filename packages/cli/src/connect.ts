// Which installation, and with which key: the environment's, else that of the installation on this machine.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { LelantosClient } from '@lelantos-ai/sdk'
import type { Environment } from './environment.ts'
import { exitCodes, Failure } from './exit.ts'

interface Access {
  readonly apiKey: string
  readonly baseURL: string | undefined
  readonly domain: string | undefined
}

export async function connect(environment: Environment): Promise<LelantosClient> {
  const access = findAccess(environment)
  const { LelantosClient } = await import('@lelantos-ai/sdk')
  return new LelantosClient(access)
}

/** The key of one installation is never sent to another: URL and key come from the same place. */
export function findAccess({ apiKey, apiURL, domain, home }: Environment): Access {
  if (apiKey !== undefined) return { apiKey, baseURL: apiURL, domain }
  const local = readLocal(join(home, 'client.json'))
  if (local !== undefined && (apiURL === undefined || apiURL === local.baseURL)) return local
  const where = apiURL === undefined ? 'LELANTOS_API_KEY is not set' : `there is no API key for ${apiURL}`
  throw new Failure(
    exitCodes.authentication,
    `${where}, and ${home} holds no running installation's key: eval "$(./lelantos env)" sets it`,
  )
}

function readLocal(path: string): Access | undefined {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    if (code !== 'EACCES') throw error
    const message = `${path} may be read by its owner only: eval "$(sudo ./lelantos env)", or run with sudo`
    throw new Failure(exitCodes.authentication, message)
  }
  try {
    const { apiKey, apiURL, domain } = JSON.parse(text) as { apiKey: string; apiURL: string; domain?: string }
    return { apiKey, baseURL: apiURL, domain }
  } catch (cause) {
    throw new Failure(exitCodes.failure, `${path} is not JSON: ./lelantos up writes it anew`, { cause })
  }
}
