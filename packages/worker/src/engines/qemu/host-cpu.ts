// What this host's CPU is, as far as a snapshot depends on it.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

/** The host's CPU as a guest under KVM sees it: model, and a hash of its features. */
export function hostCPU(): string {
  const text = readFileSync('/proc/cpuinfo', 'utf8')
  const features = createHash('sha256').update(field(text, 'flags')).digest('hex').slice(0, 12)
  return `${field(text, 'model name')} (${field(text, 'cpu family')}.${field(text, 'model')}, ${features})`
}

function field(cpuinfo: string, name: string): string {
  return new RegExp(`^${name}\\s*:\\s*(.*)$`, 'm').exec(cpuinfo)?.[1]?.trim() ?? 'unknown'
}
