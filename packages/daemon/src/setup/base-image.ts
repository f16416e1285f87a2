// The base template's disk: a Debian root of the host's own release, made with mmdebstrap from the host's own mirror, so that it
// needs no registry of images. `templates/base` is the recipe; this finds out what it needs to know of the host.
import { access, cp, mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { acquireSettings, readRelease } from './apt.ts'
import { formatSources, isLocal, readSources, releaseSources } from './apt-sources.ts'
import type { Source } from './apt-sources.ts'
import { hashFolder, hashOf, isArtifact, makeArtifact } from './artifact.ts'
import { command } from './program.ts'
import type { Step } from './steps.ts'

/** File of the artifact: `base.ext4`, raw, sparse, 20 GB. `base.ext4.packages` lists what is in it. */
export function baseImageStep(options: { artifacts: string; repository: string }): Step {
  const recipe = join(options.repository, 'templates/base')
  const toolchain = join(options.repository, 'tools/toolchain')
  return {
    name: 'base-image',
    after: ['tools'],
    inputs: async () =>
      hashOf(
        await hashFolder(recipe),
        await readFile(join(toolchain, 'package-lock.json')),
        formatSources(await guestSources()),
        (await readRelease()).codename,
      ),
    present: isArtifact,
    run: ({ inputs, signal }) =>
      makeArtifact(options.artifacts, 'base', inputs, async (folder) => {
        const scratch = join(folder, 'scratch')
        await mkdir(scratch)
        const image = join(scratch, 'base.ext4')
        const env = {
          ...(await describeHost(scratch)),
          TOOLCHAIN: join(toolchain, 'node_modules'),
          LC_ALL: 'C.UTF-8',
          TMPDIR: scratch,
        }
        await command(['sh', join(recipe, 'build.sh'), image], { env, signal, fate: 'dies_with_us' }).catch(
          (error: unknown) => {
            signal.throwIfAborted()
            throw new Error("the image cannot be made: check this machine's network and /etc/apt/sources.list*", {
              cause: error,
            })
          },
        )
        for (const file of ['base.ext4', 'base.ext4.packages']) await rename(join(scratch, file), join(folder, file))
        await rm(scratch, { recursive: true })
        return hashOf(inputs, await readFile(join(folder, 'base.ext4.packages')))
      }),
  }
}

/** The sources that the image is given. One that only this machine can read is of no use in a guest. */
async function guestSources(): Promise<Source[]> {
  const sources = releaseSources(await readSources(), (await readRelease()).codename)
  return sources.filter((source) => !isLocal(source.uri))
}

async function describeHost(scratch: string): Promise<Record<string, string>> {
  const { codename } = await readRelease()
  const sources = releaseSources(await readSources(), codename)
  if (sources.length === 0)
    throw new Error(`no source of ${codename} main in /etc/apt/sources.list or /etc/apt/sources.list.d`)
  const files = {
    SOURCES: [join(scratch, 'build.sources'), formatSources(sources)],
    GUEST_SOURCES: [join(scratch, 'guest.sources'), formatSources(await guestSources())],
    APT_CONF: [join(scratch, 'apt.conf'), (await acquireSettings()).join('\n') + '\n'],
  } as const
  for (const [path, text] of Object.values(files)) await writeFile(path, text)
  const auth = join(scratch, 'auth')
  const secrets = await readdir('/etc/apt/auth.conf.d').catch(() => [])
  const single = await access('/etc/apt/auth.conf').then(
    () => true,
    () => false,
  )
  if (secrets.length > 0 || single) await mkdir(auth, { mode: 0o700 })
  if (secrets.length > 0) await cp('/etc/apt/auth.conf.d', auth, { recursive: true })
  if (single) await cp('/etc/apt/auth.conf', join(auth, 'machine.conf'))
  return {
    SUITE: codename,
    SOURCES: files.SOURCES[0],
    GUEST_SOURCES: files.GUEST_SOURCES[0],
    APT_CONF: files.APT_CONF[0],
    AUTH: secrets.length > 0 || single ? auth : '',
  }
}
