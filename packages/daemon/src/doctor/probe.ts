// Whether an accelerator boots a guest: known only by booting one. The kernel and initramfs of the installation are started
// with `lelantos.probe`, on which the guest daemon prints a line and powers off.
import { spawn } from 'node:child_process'
import { type Accelerator, cpuModel } from '@lelantos-ai/worker/engines/qemu/command-line'
import { tscKHz } from '@lelantos-ai/worker/host/tsc'

export interface BootFiles {
  readonly kernel: string
  readonly initramfs: string
}

export interface Probe {
  readonly works: boolean
  readonly ms: number
  /** For people: why it does not work, or how long it took. */
  readonly why: string
}

const ANSWER = 'LELANTOS-PROBE-OK'

/** A KVM guest answers within a second where it works at all; one under TCG takes five on an idle machine. */
const DEADLINE_MS = { kvm: 10_000, tcg: 60_000 } as const

/** Boots the guest once. Never rejects: what fails is in `why`. */
export async function probe(accelerator: Accelerator, files: BootFiles): Promise<Probe> {
  const started = performance.now()
  // It dies with this process, however that ends.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'qemu-system-x86_64', ...qemuArguments(accelerator, files)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let console = ''
  let complaint = ''
  child.stdout.setEncoding('latin1').on('data', (text: string) => {
    console = (console + text).slice(-65_536)
    if (console.includes(ANSWER)) child.kill('SIGKILL')
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint = (complaint + text).slice(0, 4096)))
  const deadline = setTimeout(() => child.kill('SIGKILL'), DEADLINE_MS[accelerator])
  const failure = await new Promise<Error | undefined>((resolve) => {
    child.on('error', resolve)
    child.on('close', () => resolve(undefined))
  })
  clearTimeout(deadline)
  const ms = Math.round(performance.now() - started)
  const works = console.includes(ANSWER)
  if (works) return { works, ms, why: `booted a guest in ${(ms / 1000).toFixed(1)} s` }
  if (failure !== undefined) return { works, ms, why: `QEMU cannot be started: ${failure.message}` }
  if (ms >= DEADLINE_MS[accelerator])
    return { works, ms, why: `no guest was up after ${DEADLINE_MS[accelerator] / 1000} s` }
  const line = complaint.trim().split('\n')[0] ?? ''
  return {
    works,
    ms,
    why: `QEMU ended before the guest was up${line === '' ? '' : `: ${line.replace(/^qemu-\S+: /, '')}`}`,
  }
}

function qemuArguments(accelerator: Accelerator, files: BootFiles): string[] {
  const clock = accelerator === 'tcg' ? ` tsc=reliable tsc_early_khz=${tscKHz()}` : ''
  const valued = {
    '-M': 'microvm,x-option-roms=on,pit=on,pic=on,isa-serial=on,rtc=on',
    '-m': '128',
    '-smp': '1',
    '-accel': accelerator === 'tcg' ? 'tcg,thread=multi,tb-size=64' : 'kvm',
    '-cpu': cpuModel[accelerator],
    '-serial': 'stdio',
    '-sandbox': 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny',
    '-kernel': files.kernel,
    '-initrd': files.initramfs,
    '-append': `console=ttyS0 quiet reboot=t panic=-1 mitigations=off no_timer_check lelantos.probe${clock}`,
  }
  return ['-nodefaults', '-no-user-config', '-nographic', '-no-reboot', ...Object.entries(valued).flat()]
}
