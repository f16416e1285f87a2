import { describe, expect, it } from 'vitest'
import { deviceSet, machineArguments, type MachineArguments } from './command-line.ts'

const restore: MachineArguments = {
  accelerator: 'tcg',
  shape: { cpuCount: 2, memoryMB: 512, diskSizeMB: 20_480 },
  memory: 'memory',
  chain: [
    { index: 0, file: 'disk-0.raw', format: 'raw' },
    { index: 5, file: 'disk-5.qcow2', format: 'qcow2' },
    { index: 6, file: 'disk-6.qcow2', format: 'qcow2' },
  ],
  tap: 'tap0',
  socket: 'qmp',
}
const boot: MachineArguments = { ...restore, boot: { tscKHz: 2_445_404, console: true } }

/** The words that make the machine, in their order. */
function devices(words: readonly string[]): string[] {
  return words.filter((_, index) => words[index - 1] === '-device')
}

describe('the command line', () => {
  it('makes the same machine at boot and at restore, but for its firmware', () => {
    const [booted, restored] = [machineArguments(boot), machineArguments(restore)]
    expect(devices(booted)).toEqual(devices(restored))
    const machine = (words: readonly string[]) => words[words.indexOf('-M') + 1]?.replace(/x-option-roms=\w+/, '')
    expect(machine(booted)).toBe(machine(restored))
    for (const word of ['-cpu', '-m', '-smp', '-accel', '-object', '-sandbox']) {
      expect(booted[booted.indexOf(word) + 1]).toBe(restored[restored.indexOf(word) + 1])
    }
  })

  it('gives the chain whole, and lets only the highest image be written', () => {
    const words = machineArguments(restore)
    const nodes = words
      .filter((_, index) => words[index - 1] === '-blockdev')
      .map((text) => JSON.parse(text) as Record<string, unknown>)
    expect(nodes.map((node) => node['node-name'])).toEqual(['disk0', 'disk5', 'disk6'])
    expect(nodes.map((node) => node['backing'])).toEqual([undefined, 'disk0', 'disk5'])
    expect(nodes.map((node) => node['read-only'])).toEqual([true, true, false])
    expect(devices(words)).toContain('virtio-blk-device,drive=disk6,id=vd0')
  })

  it('never maps memory in a way that could write its file', () => {
    for (const words of [machineArguments(boot), machineArguments(restore)]) {
      expect(words.find((word) => word.startsWith('memory-backend-file'))).toMatch(/share=off,readonly=on,rom=off$/)
    }
  })

  it('states the rate of the counter at a boot under TCG alone', () => {
    expect(machineArguments(boot).join(' ')).toContain('tsc=reliable tsc_early_khz=2445404')
    expect(machineArguments({ ...boot, accelerator: 'kvm', boot: { console: false } }).join(' ')).not.toContain('tsc')
  })

  it('names the device set by what is in it', () => {
    expect(deviceSet('tcg')).toMatch(/^[0-9a-f]{12}$/)
    expect(deviceSet('tcg')).toBe(deviceSet('tcg'))
  })
})
