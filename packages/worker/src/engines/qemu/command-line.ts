// QEMU's arguments. Boot and restore share every word that makes the machine, for a state loads only into the machine that
// it was saved from; `deviceSet` is a hash of those words, so that a change of one refuses older snapshots by itself.
import { createHash } from 'node:crypto'
import { guestNetwork } from '@lelantos-ai/contract'
import type { Shape } from '../engine.ts'

/** TCG translates (works everywhere), KVM needs hardware that really boots a guest. */
export type Accelerator = 'tcg' | 'kvm'

/** Name of an image's node in QEMU's block graph. */
export function nodeName(index: number): string {
  return `disk${index}`
}

/** The job that merges overlays. */
export const streamJob = 'merge'

/** One image of a disk; only the highest of a chain is writable. */
export interface ChainImage {
  readonly index: number
  /** Its name in the machine's folder. */
  readonly file: string
  readonly format: 'raw' | 'qcow2'
}

export interface MachineArguments {
  readonly accelerator: Accelerator
  readonly shape: Shape
  /** Mapped privately: it is never written. Name in the machine's folder, as those of the chain. */
  readonly memory: string
  /** From the lowest up. */
  readonly chain: readonly ChainImage[]
  readonly tap: string
  /** Name of the control socket in QEMU's working folder, a folder of its own within the machine's. */
  readonly socket: string
  /** Without it the state is loaded from its descriptor. */
  readonly boot?: {
    readonly tscKHz?: number
    /** Whether the guest's console goes to its descriptor. */
    readonly console: boolean
  }
}

/**
 * Files that QEMU inherits open, since its user need not be able to reach their folders. Everything else it opens lies in
 * the machine's folder and is named relative to it.
 */
const descriptors = { state: 3, console: 4, kernel: 5, initramfs: 6 } as const

/** What the guest sees as its CPU. `la57` would cost every page walk of TCG a level. */
export const cpuModel = { tcg: 'max,la57=off', kvm: 'host' } as const

export function machineArguments(machine: MachineArguments): string[] {
  const { shape, boot } = machine
  return [
    ...hardware(machine.accelerator, boot !== undefined),
    ['-m', String(shape.memoryMB), '-smp', String(shape.cpuCount)],
    // `readonly` opens the file for reading only, `rom=off` still lets the guest write into its private copy.
    '-object',
    `memory-backend-file,id=ram0,size=${shape.memoryMB}M,mem-path=../${machine.memory},share=off,readonly=on,rom=off`,
    ...machine.chain.flatMap((image) => ['-blockdev', JSON.stringify(blockNode(image, machine.chain))]),
    ...disk(machine.chain.at(-1)?.index ?? 0),
    ['-netdev', `tap,id=n0,ifname=${machine.tap},script=no,downscript=no`],
    ['-qmp', `unix:${machine.socket},server=on,wait=off`],
    '-S',
    ...(boot ? bootArguments(boot) : incomingArguments()),
    ...(boot?.console ? consoleArguments() : ['-serial', 'null']),
  ].flat()
}

/** The words that a saved state depends on. Firmware differs between boot and restore and leaves no trace in a state. */
function hardware(accelerator: Accelerator, firmware: boolean): string[] {
  const roms = firmware ? 'on' : 'off'
  return [
    '-M',
    `microvm,x-option-roms=${roms},suppress-vmdesc=on,pit=on,pic=on,isa-serial=on,rtc=on,memory-backend=ram0`,
    // Without a size the translation cache grows to a gigabyte.
    ['-accel', accelerator === 'tcg' ? 'tcg,thread=multi,tb-size=256' : 'kvm'],
    ['-cpu', cpuModel[accelerator]],
    ['-nodefaults', '-no-user-config', '-nographic', '-no-reboot'],
    ['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
    ['-device', `virtio-net-device,netdev=n0,mac=${guestNetwork.guestMAC}`],
    ['-object', 'rng-random,id=r0,filename=/dev/urandom', '-device', 'virtio-rng-device,rng=r0'],
  ].flat()
}

function disk(top: number): string[] {
  return ['-device', `virtio-blk-device,drive=${nodeName(top)},id=vd0`]
}

/** Twelve hex digits that change with the machine: its devices, their order and options. */
export function deviceSet(accelerator: Accelerator): string {
  const words = [...hardware(accelerator, false), ...disk(0)]
  return createHash('sha256').update(words.join('\0')).digest('hex').slice(0, 12)
}

/**
 * A node of the block graph. The graph is given whole, so no path stored in an image is ever followed. Flushes of the
 * guest end in the host's page cache: a machine does not survive its host, and what is saved of it is synced when sealed.
 */
function blockNode(image: ChainImage, chain: readonly ChainImage[]): object {
  const writable = image.index === chain.at(-1)?.index
  const below = chain[chain.indexOf(image) - 1]
  return {
    driver: image.format,
    'node-name': nodeName(image.index),
    'read-only': !writable,
    ...(writable ? { discard: 'unmap', cache } : {}),
    ...(below ? { backing: nodeName(below.index) } : {}),
    file: { driver: 'file', filename: `../${image.file}`, ...(writable ? writableFile : { 'read-only': true }) },
  }
}

const cache = { 'no-flush': true }

/** Once an overlay lies above it the file is opened anew, for reading only: by then it may be sealed and root's. */
const writableFile = { discard: 'unmap', cache, 'auto-read-only': true }

/** A further overlay, added to a machine while it is stopped: it gets its backing by `blockdev-snapshot`. */
export function overlayNode(node: string, file: string): object {
  return {
    driver: 'qcow2',
    'node-name': node,
    discard: 'unmap',
    cache,
    backing: null,
    file: { driver: 'file', filename: file, ...writableFile },
  }
}

function bootArguments(boot: NonNullable<MachineArguments['boot']>): string[] {
  const append = [
    'console=ttyS0 quiet reboot=t panic=-1 net.ifnames=0 mitigations=off no_timer_check',
    // Without the rate a boot on a busy host hangs in its calibration against the timer.
    ...(boot.tscKHz === undefined ? [] : [`tsc=reliable tsc_early_khz=${boot.tscKHz}`]),
  ]
  const inherited = (descriptor: number) => `/proc/self/fd/${descriptor}`
  return [
    ['-kernel', inherited(descriptors.kernel), '-initrd', inherited(descriptors.initramfs)],
    ['-append', append.join(' ')],
  ].flat()
}

function incomingArguments(): string[] {
  // A state of `xen-save-devices-state` has no configuration section.
  return [
    ['-add-fd', `fd=${descriptors.state},set=1`, '-incoming', 'file:/dev/fdset/1'],
    ['-global', 'migration.send-configuration=off'],
  ].flat()
}

function consoleArguments(): string[] {
  return [
    ['-add-fd', `fd=${descriptors.console},set=2`],
    ['-chardev', 'file,id=console,path=/dev/fdset/2,append=on', '-serial', 'chardev:console'],
  ].flat()
}
