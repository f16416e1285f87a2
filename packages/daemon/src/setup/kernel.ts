// The guests' kernel: Debian's cloud kernel 6.12, downloaded and unpacked, never installed on the host. The package holds a
// bzImage; what is kept is the ELF image inside it, which starts a third faster (no decompression in the guest) and is what
// Firecracker takes.
import { mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { zstdDecompressSync } from 'node:zlib'
import { hashFile, hashOf, isArtifact, makeArtifact } from './artifact.ts'
import { command } from './program.ts'
import { depends, downloadPackage, readRelease } from './apt.ts'
import type { Step } from './steps.ts'

/** Changes when the recipe below does. */
const RECIPE = 'kernel 1'

// Debian 12's security suite has the first; in Debian 13 the second is a 6.12.
const METAPACKAGES = ['linux-image-6.12-cloud-amd64', 'linux-image-cloud-amd64']

/** Files of the artifact: `vmlinux` and `modules/<version>` as `depmod` left it. */
export function kernelStep(artifacts: string): Step {
  return {
    name: 'kernel',
    after: ['tools'],
    inputs: async () => hashOf(RECIPE, (await readRelease()).codename),
    present: isArtifact,
    run: async ({ inputs, signal, note }) => {
      const folder = await makeArtifact(artifacts, 'kernel', inputs, (into) => unpack(into, signal))
      note((await readdir(join(folder, 'modules')))[0] ?? '')
      return folder
    },
  }
}

async function unpack(folder: string, signal: AbortSignal): Promise<string> {
  const scratch = join(folder, 'deb')
  await mkdir(scratch)
  const deb = await downloadPackage(await imagePackage(), scratch, signal)
  await command(['dpkg', '-x', deb, join(scratch, 'root')], { signal })
  const boot = join(scratch, 'root/boot')
  const bzImage = (await readdir(boot)).find((name) => name.startsWith('vmlinuz-'))
  if (bzImage === undefined) throw new Error(`${deb} has no kernel in /boot`)
  const version = bzImage.slice('vmlinuz-'.length)
  await writeFile(join(folder, 'vmlinux'), elfOf(await readFile(join(boot, bzImage))), { flush: true })
  // The index of which module needs which is made at a package's installation, which does not happen here.
  const lib = ['usr/lib/modules', 'lib/modules'].map((path) => join(scratch, 'root', path))
  const modules = await Promise.any(lib.map(async (path) => (await readdir(path), path)))
  await command(['depmod', '-b', modules.replace(/\/lib\/modules$/, ''), version], { signal })
  await rename(modules, join(folder, 'modules'))
  await rm(scratch, { recursive: true })
  return hashFile(join(folder, 'vmlinux'))
}

async function imagePackage(): Promise<string> {
  for (const name of METAPACKAGES) {
    const image = (await depends(name)).find((dependency) => dependency.startsWith('linux-image-6.12.'))
    if (image !== undefined) return image
  }
  throw new Error(`no Debian cloud kernel 6.12 in the configured repositories (looked for ${METAPACKAGES.join(', ')})`)
}

/**
 * The ELF image in a bzImage (Linux's Documentation/arch/x86/boot.rst): after `setup_sects` sectors and the boot sector, at
 * `payload_offset`, `payload_length` bytes, of which the last four are the uncompressed size. Only zstd, which Debian uses.
 */
function elfOf(bzImage: Buffer): Buffer {
  if (bzImage.length < 0x260 || bzImage.toString('latin1', 0x202, 0x206) !== 'HdrS')
    throw new Error('not a bzImage: no HdrS at 0x202')
  const start = (bzImage.readUInt8(0x1f1) + 1) * 512 + bzImage.readUInt32LE(0x248)
  const length = bzImage.readUInt32LE(0x24c)
  const payload = bzImage.subarray(start, start + length - 4)
  if (payload.length < 4 || payload.readUInt32LE(0) !== 0xfd2fb528) throw new Error("the kernel's payload is not zstd")
  const elf = zstdDecompressSync(payload)
  if (elf.length !== bzImage.readUInt32LE(start + length - 4) || elf.readUInt32BE(0) !== 0x7f454c46)
    throw new Error("the kernel's payload is not the ELF image that its header announces")
  return elf
}
