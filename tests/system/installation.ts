// A whole installation for tests: its own state folder, port, PostgreSQL, NATS and machines. Kernel, guest daemon and image
// come from the artifacts folder that `./lelantos test` has filled.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { LelantosClient } from '@lelantos-ai/sdk'

export const repository = resolve(import.meta.dirname, '../..')

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export class Installation {
  readonly home: string
  readonly port: number
  readonly environment: NodeJS.ProcessEnv

  private constructor(home: string, port: number) {
    this.home = home
    this.port = port
    this.environment = {
      ...process.env,
      LELANTOS_HOME: home,
      LELANTOS_ARTIFACTS: process.env['LELANTOS_ARTIFACTS'] ?? '/var/lib/lelantos/artifacts',
    }
    for (const name of Object.keys(this.environment)) {
      if (/^(E2B_|LELANTOS_(API|DOMAIN))/.test(name)) delete this.environment[name]
    }
  }

  /** An empty one: nothing runs yet. */
  static async create(): Promise<Installation> {
    return new Installation(await mkdtemp(join(tmpdir(), 'lelantos-')), await freePort())
  }

  static async start(...flags: string[]): Promise<Installation> {
    const installation = await Installation.create()
    try {
      await installation.up(...flags)
    } catch (error) {
      await installation.remove().catch(() => {}) // what failed first is what counts
      throw error
    }
    return installation
  }

  /** `up --detach`; rejects with what it said when it fails. */
  async up(...flags: string[]): Promise<Ran> {
    const ran = await this.host(['up', '--detach', '--port', String(this.port), '--vm-disk', '8G', ...flags])
    if (ran.code !== 0) throw new Error(`up failed (${ran.code}):\n${ran.stderr}\n${await this.log('up')}`)
    return ran
  }

  async down(...flags: string[]): Promise<Ran> {
    return this.host(['down', ...flags])
  }

  /** A command of the host. */
  async host(args: string[]): Promise<Ran> {
    return finished(this.spawn('packages/daemon/src/main.ts', args))
  }

  /** A command of the CLI. */
  async cli(...args: string[]): Promise<Ran> {
    return finished(this.spawn('packages/cli/src/main.ts', args))
  }

  spawn(main: string, args: string[]): ChildProcess {
    return spawn(process.execPath, ['--conditions=source', join(repository, main), ...args], {
      env: this.environment,
      stdio: ['pipe', 'pipe', 'pipe'],
    })
  }

  async client(): Promise<LelantosClient> {
    const { apiURL, apiKey, domain } = await this.credentials()
    return new LelantosClient({ apiKey, baseURL: apiURL, domain, timeout: 60_000 })
  }

  async credentials(): Promise<{ apiURL: string; apiKey: string; domain: string }> {
    return JSON.parse(await readFile(join(this.home, 'client.json'), 'utf8')) as {
      apiURL: string
      apiKey: string
      domain: string
    }
  }

  async log(name: string): Promise<string> {
    return readFile(join(this.home, 'logs', `${name}.log`), 'utf8').catch(() => '')
  }

  /** Ends everything and deletes the state folder. */
  async remove(): Promise<void> {
    await this.down('--kill')
    // A failed down leaves the volume behind: a test that fails must not leave the machine full of mounts.
    await finished(spawn('umount', ['--quiet', '--lazy', join(this.home, 'vm')]))
    await rm(this.home, { recursive: true, force: true })
  }
}

/** What `env` tells a shell to export. */
export async function exportsOf(installation: Installation): Promise<Record<string, string>> {
  return JSON.parse((await installation.host(['env', '--json'])).stdout) as Record<string, string>
}

export async function finished(child: ChildProcess, input = ''): Promise<Ran> {
  let stdout = ''
  let stderr = ''
  child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  child.stdin?.on('error', () => {}) // a program that ends without reading its input
  child.stdin?.end(input)
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stdout, stderr }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
