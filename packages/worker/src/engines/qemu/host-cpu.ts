// What this host's CPU is, as far as a snapshot depends on it.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { command } from '../../host/command.ts'

/** The host's CPU as a guest under KVM sees it: model, and a hash of its features. */
export function hostCPU(): string {
  const text = readFileSync('/proc/cpuinfo', 'utf8')
  const features = createHash('sha256').update(field(text, 'flags')).digest('hex').slice(0, 12)
  return `${field(text, 'model name')} (${field(text, 'cpu family')}.${field(text, 'model')}, ${features})`
}

function field(cpuinfo: string, name: string): string {
  return new RegExp(`^${name}\\s*:\\s*(.*)$`, 'm').exec(cpuinfo)?.[1]?.trim() ?? 'unknown'
}

/**
 * Rate of this host's TSC in kHz, as its kernel calibrated it at boot; a guest's clock under TCG runs at it. From the
 * kernel's log, or from the nominal frequency where that is gone; `undefined` when neither says it.
 */
export async function hostTscKHz(): Promise<number | undefined> {
  for (const [program, ...args] of [['dmesg'], ['journalctl', '-k', '-b', '--no-pager', '-o', 'cat']]) {
    const log = await command(program ?? '', args, { deadlineMs: 10_000 }).catch(() => undefined)
    const rate = log && tscKHzFromKernelLog(log.stdout)
    if (rate !== undefined) return rate
  }
  const nominal = Number(field(readFileSync('/proc/cpuinfo', 'utf8'), 'cpu MHz'))
  return nominal > 0 ? Math.round(nominal * 1000) : undefined
}

/** The refined rate where the kernel states one: it is measured against a better clock, a second after the first. */
export function tscKHzFromKernelLog(log: string): number | undefined {
  const said =
    /tsc: Refined TSC clocksource calibration: ([\d.]+) MHz/.exec(log) ?? /tsc: Detected ([\d.]+) MHz/.exec(log)
  return said?.[1] === undefined ? undefined : Math.round(Number(said[1]) * 1000)
}
