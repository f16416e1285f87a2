// Which accelerator machines run under. KVM is probed, since its device file proves nothing; TCG needs no hardware. What was
// found is kept in the state folder, so that a later start does not pay for it.
import { access, mkdir, readFile } from 'node:fs/promises'
import { release } from 'node:os'
import { join } from 'node:path'
import type { Accelerator } from '@lelantos-ai/worker/engines/qemu/command-line'
import { writeDurably } from '@lelantos-ai/worker/host/durable'
import { hashOf } from '../setup/artifact.ts'
import { command } from '../setup/program.ts'
import { probe } from './probe.ts'
import type { BootFiles, Probe } from './probe.ts'

export interface Choice {
  readonly accelerator: Accelerator
  /** For people: why this one. */
  readonly reason: string
}

/** Chooses `kvm` where it boots a guest, else `tcg`. Probes only what is not known; at most 10 s, at most once a boot of the host. */
export async function chooseAccelerator(options: { home: string }, files: BootFiles): Promise<Choice> {
  const kvm = await kvmWorks(options, files)
  return kvm.works
    ? { accelerator: 'kvm', reason: `KVM ${kvm.why}` }
    : { accelerator: 'tcg', reason: `no KVM (${kvm.why}): guests are translated, several times slower` }
}

/** Whether KVM boots a guest, from memory where `remembered` is not `ignored`. */
export async function kvmWorks(
  options: { home: string },
  files: BootFiles,
  remembered: 'used' | 'ignored' = 'used',
): Promise<Probe> {
  if (!(await access('/dev/kvm').then(yes, no))) return { works: false, ms: 0, why: 'there is no /dev/kvm' }
  const file = join(options.home, 'cache', 'kvm.json')
  const keys = await circumstances(files)
  if (remembered === 'used') {
    const known = await recall(file, keys)
    if (known !== undefined) return known
  }
  const found = await probe('kvm', files)
  await mkdir(join(options.home, 'cache'), { recursive: true, mode: 0o700 })
  await writeDurably(file, JSON.stringify({ key: found.works ? keys.boot : keys.machine, found }), 0o600)
  return found
}

interface Circumstances {
  /** Changes with each boot of the host: a success holds only so long. */
  readonly boot: string
  /** Changes with the host's kernel, processor, QEMU and the guest's kernel: a failure stands until one of them does. */
  readonly machine: string
}

async function circumstances(files: BootFiles): Promise<Circumstances> {
  const cpu = /^model name.*$/m.exec(await readFile('/proc/cpuinfo', 'utf8'))?.[0] ?? ''
  const version = await command(['qemu-system-x86_64', '--version'])
  const machine = hashOf(release(), cpu, version, files.kernel)
  return { machine, boot: hashOf(machine, await readFile('/proc/sys/kernel/random/boot_id', 'utf8')) }
}

async function recall(file: string, keys: Circumstances): Promise<Probe | undefined> {
  try {
    const { key, found } = JSON.parse(await readFile(file, 'utf8')) as { key: string; found: Probe }
    return key === (found.works ? keys.boot : keys.machine) ? found : undefined
  } catch {
    return undefined // never probed
  }
}

const yes = (): boolean => true
const no = (): boolean => false
