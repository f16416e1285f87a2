// The guest daemon as an ordinary process: built from source, on a port and in a folder of its own.
import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** An account that every Debian has, with no login profile that a test could trip over. */
export const testUser = 'nobody'

export interface Daemon extends AsyncDisposable {
  readonly url: string
  readonly secret: string
  readonly token: string
  readonly pid: number
  /** A folder that every user may write into. */
  readonly folder: string
  /** The program itself. */
  readonly program: string
}

/** The body of `/init` that opens a daemon, with what a test changes. */
export function initBody(token: string, change: object = {}): string {
  return JSON.stringify({
    sandboxID: 'sbxtest',
    templateID: 'base',
    accessToken: token,
    hostname: 'sbxtest',
    defaultUser: testUser,
    envVars: { MODE: 'x' },
    timestamp: new Date().toISOString(),
    entropy: randomBytes(32).toString('base64'),
    ...change,
  })
}

export async function startDaemon(options: { open: boolean }): Promise<Daemon> {
  const folder = await mkdtemp(join(tmpdir(), 'lelantosd-'))
  const program = join(folder, 'lelantosd')
  execFileSync(fileURLToPath(new URL('../../guest/build.sh', import.meta.url)), [program], { stdio: 'inherit' })
  const files = join(folder, 'files')
  execFileSync('mkdir', ['-m', '1777', files])
  await chmod(folder, 0o755)
  const secret = randomBytes(32).toString('hex')
  const token = randomBytes(32).toString('hex')
  const child = spawn(program, ['serve', '--listen', '127.0.0.1:0', '--control-secret', secret], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const address = await new Promise<string>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the daemon ended with ${code} before it listened`)))
    createInterface(child.stdout).once('line', (line) => resolve(line.replace('listening on ', '')))
  })
  const daemon: Daemon = {
    url: `http://${address}`,
    secret,
    token,
    pid: child.pid!,
    folder: files,
    program,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL')
      await exited
      await rm(folder, { recursive: true, force: true })
    },
  }
  if (options.open) {
    const response = await control(daemon, '/init', initBody(token))
    if (response.status !== 204) throw new Error(`/init answered ${response.status}: ${await response.text()}`)
  }
  return daemon
}

export function control(daemon: Daemon, path: string, body: string, secret = daemon.secret): Promise<Response> {
  return fetch(daemon.url + path, { method: 'POST', body, headers: { 'X-Control-Secret': secret } })
}
