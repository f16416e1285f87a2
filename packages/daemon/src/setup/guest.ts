// The guest daemon, built from `guest/`, and the initramfs that starts it: one archive of the daemon and the kernel's modules.
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { guestInitramfs } from '@lelantos-ai/worker/images/initramfs'
import { hashFile, hashFolder, hashOf, isArtifact, makeArtifact } from './artifact.ts'
import { goEnvironment } from './go.ts'
import { guestModules, moduleFiles } from './modules.ts'
import { command } from './program.ts'
import { readStamp } from './steps.ts'
import type { Step } from './steps.ts'

export interface GuestOptions {
  readonly home: string
  readonly artifacts: string
  readonly repository: string
  readonly stamps: string
}

/** File of the artifact: `lelantosd`, static. The same source gives the same bytes. */
export function guestStep({ home, artifacts, repository, stamps }: GuestOptions): Step {
  const source = join(repository, 'guest')
  return {
    name: 'guest-daemon',
    after: ['go'],
    inputs: async () => hashFolder(source, (path) => path === 'lelantosd' || path.endsWith('_test.go')),
    present: isArtifact,
    run: ({ inputs, signal }) =>
      makeArtifact(artifacts, 'guest', inputs, async (folder) => {
        const go = await readStamp(stamps, 'go')
        if (go === undefined) throw new Error('the step go has left no stamp')
        const env = goEnvironment(home, go.product)
        await mkdir(join(home, 'cache'), { recursive: true, mode: 0o700 })
        await command(['sh', join(source, 'build.sh'), join(folder, 'lelantosd')], { cwd: source, env, signal })
        return hashFile(join(folder, 'lelantosd'))
      }),
  }
}

/** Files of the artifact: `initramfs.cpio`. */
export function initramfsStep({ artifacts, stamps }: GuestOptions): Step {
  const parts = async (): Promise<{ kernel: string; guest: string }> => {
    const [kernel, guest] = await Promise.all(['kernel', 'guest-daemon'].map((step) => readStamp(stamps, step)))
    if (kernel === undefined || guest === undefined) throw new Error('the kernel and the guest daemon are not made yet')
    return { kernel: kernel.product, guest: guest.product }
  }
  return {
    name: 'initramfs',
    after: ['kernel', 'guest-daemon'],
    inputs: async () => {
      const { kernel, guest } = await parts()
      return hashOf(basename(kernel), basename(guest), ...guestModules)
    },
    present: isArtifact,
    run: ({ inputs }) =>
      makeArtifact(artifacts, 'initramfs', inputs, async (folder) => {
        const { kernel, guest } = await parts()
        const [version = ''] = await readdir(join(kernel, 'modules'))
        const tree = join(kernel, 'modules', version)
        const modules = (await moduleFiles(tree)).map(async (path) => ({
          file: basename(path),
          content: await readFile(join(tree, path)),
        }))
        const init = await readFile(join(guest, 'lelantosd'))
        const archive = guestInitramfs({ init, modules: await Promise.all(modules) })
        await writeFile(join(folder, 'initramfs.cpio'), archive, { flush: true })
        return hashOf(archive)
      }),
  }
}
