// Everything that can be configured, read once from flags and environment: the only file that reads `process.env`.
import { cpus, totalmem } from 'node:os'
import { join, resolve } from 'node:path'
import { ports } from '@lelantos-ai/contract'

/** One machine's configuration. A fleet's machines differ in the addresses that are given instead of private ones. */
export interface Config {
  /** The state folder: everything an installation keeps. */
  readonly home: string
  /** Kernel, guest daemon and images, by the hash of what they were made from; several installations may share them. */
  readonly artifacts: string
  /** The checkout that runs. */
  readonly repository: string
  readonly host: string
  readonly port: number
  /** Sandboxes answer at `{port}-{id}.{domain}`. */
  readonly domain: string
  /** A shared PostgreSQL; a private one unless given. */
  readonly databaseURL: string | undefined
  /** A shared NATS, with its token in the URL; a private one unless given. */
  readonly natsURL: string | undefined
  /** Memory for machines, in MB. */
  readonly memoryMB: number
  /** Above 1, machines are promised more memory than there is. */
  readonly memoryOvercommit: number
  /** Size of the VM volume's image in bytes, where one is made. */
  readonly vmDiskBytes: number | undefined
  /** Restores that run at the same time. */
  readonly parallelRestores: number
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error'
}

export interface Flags {
  readonly host?: string
  readonly port?: string
  readonly domain?: string
  readonly memory?: string
  readonly vmDisk?: string
}

/** What a user gave cannot be used: said in one line, exit code 2. */
export class ConfigError extends Error {}

/** Reads the configuration; flags win over the environment. Throws `ConfigError` naming the setting, what it was and what it may be. */
export function readConfig(flags: Flags = {}): Config {
  const environment = process.env
  const home = resolve(environment['LELANTOS_HOME'] ?? '/var/lib/lelantos')
  const port = integer('--port', flags.port ?? environment['LELANTOS_PORT'] ?? String(ports.api), 1, 65_535)
  const host = flags.host ?? environment['LELANTOS_HOST'] ?? '127.0.0.1'
  const machineMB = Math.floor(totalmem() / 1024 / 1024)
  return {
    home,
    artifacts: resolve(environment['LELANTOS_ARTIFACTS'] ?? join(home, 'artifacts')),
    repository: resolve(import.meta.dirname, '../../..'),
    host,
    port,
    domain: flags.domain ?? `localhost:${port}`,
    databaseURL: environment['DATABASE_URL'],
    natsURL: environment['NATS_URL'],
    // A quarter, and at least a gigabyte, stays with the host, its page cache and the control plane.
    memoryMB: integer(
      '--memory',
      flags.memory ??
        environment['LELANTOS_MEMORY_MB'] ??
        String(machineMB - Math.max(1024, Math.floor(machineMB / 4))),
      256,
      machineMB,
    ),
    memoryOvercommit: number('LELANTOS_MEMORY_OVERCOMMIT', environment['LELANTOS_MEMORY_OVERCOMMIT'] ?? '1', 1, 16),
    vmDiskBytes: bytes('--vm-disk', flags.vmDisk ?? environment['LELANTOS_VM_DISK']),
    parallelRestores: cpus().length,
    logLevel: level(environment['LELANTOS_LOG_LEVEL'] ?? 'info'),
  }
}

/** Why a defect's stack should be shown. */
export function wantsStacks(): boolean {
  return process.env['LELANTOS_DEBUG'] !== undefined
}

function integer(name: string, text: string, minimum: number, maximum: number): number {
  const value = Number(text)
  if (!Number.isInteger(value)) throw new ConfigError(`${name} must be a whole number, got ${JSON.stringify(text)}`)
  return inRange(name, value, minimum, maximum)
}

function number(name: string, text: string, minimum: number, maximum: number): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value))
    throw new ConfigError(`${name} must be a number, got ${JSON.stringify(text)}`)
  return inRange(name, value, minimum, maximum)
}

function inRange(name: string, value: number, minimum: number, maximum: number): number {
  if (value < minimum || value > maximum)
    throw new ConfigError(`${name} must be ${minimum} to ${maximum}, got ${value}`)
  return value
}

const UNITS: Readonly<Record<string, number>> = { M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 }

function bytes(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const match = /^(\d+)([MGT])$/.exec(text)
  if (match === null) throw new ConfigError(`${name} must be a size such as 40G, got ${JSON.stringify(text)}`)
  const size = Number(match[1]) * (UNITS[match[2] ?? ''] ?? 1)
  if (size < 4 * 1024 ** 3) throw new ConfigError(`${name} must be at least 4G, got ${text}`)
  return size
}

function level(text: string): Config['logLevel'] {
  if (text === 'debug' || text === 'info' || text === 'warn' || text === 'error') return text
  throw new ConfigError(`LELANTOS_LOG_LEVEL must be debug, info, warn or error, got ${JSON.stringify(text)}`)
}
