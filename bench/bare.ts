// The bare engine: the restore command and nothing else. From the spawn of QEMU until the guest's daemon has answered
// `/init`; no supervisor, no roster, no API, no unprivileged user, no cgroup. What everything else is compared with.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, copyFileSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomBytes } from 'node:crypto'
import { guestNetwork, ports } from '@lelantos-ai/contract'
import { parseNetwork, relayAddress, slotLayout } from '@lelantos-ai/worker/net/addresses'
import { createSlotScript } from '@lelantos-ai/worker/net/slot-script'
import type { SealedSnapshot } from '@lelantos-ai/worker/snapshots/snapshots'
import type { Door } from './echo.ts'

export interface Bare extends AsyncDisposable {
  readonly pid: number
  /** Spawn to `/init` answered, in ms. */
  readonly restoredMs: number
  readonly door: Door
}

const TOKEN = 'bench'.repeat(4)

/** A network slot as the product makes it, made once: the bare command's time starts with the spawn. Needs root. */
export class BareNetwork implements Disposable {
  readonly netns: string
  /** Where the host reaches the guest. */
  readonly address: string

  constructor() {
    const subnet = parseNetwork('10.254.0.0/16')
    const layout = slotLayout(process.pid.toString(16).padStart(6, '0'), subnet, 0)
    execFileSync('sh', ['-s'], { input: createSlotScript({ layout, uid: 0, relay: relayAddress(subnet) }) })
    this.netns = layout.name
    this.address = layout.slotAddress
  }

  [Symbol.dispose](): void {
    execFileSync('ip', ['netns', 'del', this.netns])
  }
}

/** Restores a snapshot with the command and waits for `/init`. */
export async function restoreBare(snapshot: SealedSnapshot, network: BareNetwork, emptyOverlay: string): Promise<Bare> {
  const folder = mkdtempSync(join(tmpdir(), 'bare-'))
  const overlay = join(folder, 'overlay.qcow2')
  copyFileSync(emptyOverlay, overlay)
  const state = openSync(snapshot.state, 'r')
  const agent = new Agent({ keepAlive: true })
  const began = performance.now()
  const child = spawn(
    'ip',
    ['netns', 'exec', network.netns, 'qemu-system-x86_64', ...argumentsOf(snapshot, overlay, join(folder, 'qmp'))],
    {
      stdio: ['ignore', 'ignore', 'inherit', state],
      detached: true,
    },
  )
  closeSync(state)
  try {
    await initialised(network.address, snapshot.controlSecret, child)
  } catch (error) {
    child.kill('SIGKILL')
    throw error
  }
  return {
    pid: child.pid ?? -1,
    restoredMs: performance.now() - began,
    door: { host: network.address, port: ports.envd, headers: { 'X-Access-Token': TOKEN }, agent },
    [Symbol.asyncDispose]: async () => {
      agent.destroy()
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
      rmSync(folder, { recursive: true })
    },
  }
}

function argumentsOf(snapshot: SealedSnapshot, overlay: string, qmp: string): string[] {
  const { shape, accelerator } = snapshot.world
  const [base, ...overlays] = snapshot.disks
  if (overlays.length > 0) throw new Error('the bare restore starts from a template, which has no overlays')
  return [
    ...['-M', 'microvm,x-option-roms=off,suppress-vmdesc=on,pit=on,pic=on,isa-serial=on,rtc=on,memory-backend=ram0'],
    ...['-accel', accelerator === 'tcg' ? 'tcg,thread=multi,tb-size=256' : accelerator],
    ...[
      '-cpu',
      accelerator === 'tcg' ? 'max,la57=off' : 'host',
      '-m',
      String(shape.memoryMB),
      '-smp',
      String(shape.cpuCount),
    ],
    ...['-nodefaults', '-no-user-config', '-nographic', '-serial', 'null'],
    ...[
      '-object',
      `memory-backend-file,id=ram0,size=${shape.memoryMB}M,mem-path=${snapshot.memory},share=off,readonly=on,rom=off`,
    ],
    ...[
      '-blockdev',
      JSON.stringify({
        driver: 'raw',
        'node-name': 't0',
        'read-only': true,
        file: { driver: 'file', filename: base, 'read-only': true },
      }),
    ],
    ...[
      '-blockdev',
      JSON.stringify({
        driver: 'qcow2',
        'node-name': 'd0',
        discard: 'unmap',
        file: { driver: 'file', filename: overlay, discard: 'unmap' },
        backing: 't0',
      }),
    ],
    ...[
      '-netdev',
      'tap,id=n0,ifname=tap0,script=no,downscript=no',
      '-device',
      `virtio-net-device,netdev=n0,mac=${guestNetwork.guestMAC}`,
    ],
    ...['-object', 'rng-random,id=r0,filename=/dev/urandom', '-device', 'virtio-rng-device,rng=r0', '-no-reboot'],
    // Devices in the order in which the template has them: their addresses are part of its state.
    ...['-device', 'virtio-blk-device,drive=d0,id=vd0'],
    ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
    ...[
      '-qmp',
      `unix:${qmp},server=on,wait=off`,
      '-add-fd',
      'fd=3,set=1',
      '-incoming',
      'file:/dev/fdset/1',
      '-global',
      'migration.send-configuration=off',
    ],
  ]
}

const READY_MS = 60_000

async function initialised(address: string, secret: string, child: ChildProcess): Promise<void> {
  const deadline = performance.now() + READY_MS
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the bare engine exited with ${child.exitCode}`)
    try {
      await init(address, secret)
      return
    } catch (error) {
      if (performance.now() > deadline) throw error
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  }
}

function init(address: string, secret: string): Promise<void> {
  const body = JSON.stringify({
    sandboxID: 'bench',
    templateID: 'bench',
    accessToken: TOKEN,
    hostname: 'bench',
    timestamp: new Date().toISOString(),
    entropy: randomBytes(32).toString('base64'),
    envVars: {},
  })
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host: address,
        port: ports.envd,
        path: '/init',
        method: 'POST',
        headers: { 'X-Control-Secret': secret, 'Content-Type': 'application/json' },
      },
      (response) => {
        response.resume()
        if (response.statusCode === 204) resolve()
        else reject(new Error(`/init answered ${response.statusCode}`))
      },
    )
    // A connection that is lost in a guest that just starts is given up soon: waiting for TCP's own second try costs more.
    const timer = setTimeout(() => {
      if (sent.socket?.connecting !== false) sent.destroy(new Error('no connection yet'))
    }, 50)
    sent.on('error', reject)
    sent.on('close', () => clearTimeout(timer))
    sent.end(body)
  })
}

/** Proportional set size of a process, in MB: shared pages count by their share. */
export function pssMB(pid: number): number {
  const match = /^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))
  return Number(match?.[1] ?? Number.NaN) / 1024
}
