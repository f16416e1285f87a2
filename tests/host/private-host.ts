// A host of the test's own: network and mount namespaces in which everything that an installation does to a host can be
// done, and which vanish with their last process. Guests and the internet are played by further namespaces in it.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { guestNetwork } from '@lelantos-ai/contract'
import type { Slot } from '@lelantos-ai/worker/net/slot'

/** Where "the internet" is, as seen from the private host, which is .1. */
export const INTERNET = '198.51.100.2'
const PEER = new URL('./network-peer.ts', import.meta.url).pathname
const SLOTS_PROCESS = new URL('./slots-process.ts', import.meta.url).pathname

export interface PrivateHost extends AsyncDisposable {
  /** Runs a program on it, or in one of its namespaces, to its end; what it prints. */
  run(program: string, args: readonly string[], netns?: string): string
  /** Starts a peer (`network-peer.ts`) and waits until it says that it is ready. Resolves with what it says next. */
  serve(mode: string, args: readonly string[], netns?: string): Promise<() => Promise<string>>
  /** Runs a peer to its end: what it says in its one line. */
  ask<Answer>(mode: string, args: readonly string[], options?: { netns?: string; uid?: number }): Answer
  /** Puts a namespace where the VM would be: at the end of the slot's tap. Its name. */
  playGuest(slot: Slot): string
  openSlots(options: Record<string, unknown>): Promise<RemoteSlots>
}

/** The slots of a worker that runs on the private host. */
export interface RemoteSlots {
  call<Result>(method: 'acquire' | 'release' | 'claim' | 'close', argument?: unknown): Promise<Result>
  /** As `kill -9` of the worker. */
  kill(): Promise<void>
}

export async function openPrivateHost(): Promise<PrivateHost> {
  const setUp = [
    'mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns && mount -t sysfs sysfs /sys',
    'ip link set lo up',
    'ip netns add internet && ip link add uplink type veth peer name eth0 netns internet',
    `ip addr add 198.51.100.1/24 dev uplink && ip link set uplink up && ip route add default via ${INTERNET}`,
    `ip -n internet addr add ${INTERNET}/24 dev eth0 && ip -n internet link set eth0 up && ip -n internet link set lo up`,
    'ip -n internet addr add 169.254.169.254/32 dev lo',
    'echo ready; exec sleep infinity',
  ]
  const holder = spawn('unshare', ['--net', '--mount', 'sh', '-ec', setUp.join('\n')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const children: ChildProcess[] = [holder]
  await firstLine(holder, 'ready')

  const enter = ['nsenter', '--target', String(holder.pid), '--mount', '--net', '--']
  const prefix = (netns?: string) => (netns === undefined ? enter : [...enter, 'ip', 'netns', 'exec', netns])
  const run = (program: string, args: readonly string[], netns?: string) => {
    const [first = '', ...rest] = [...prefix(netns), program, ...args]
    return execFileSync(first, rest, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  }
  const start = (args: readonly string[], netns?: string) => {
    const [first = '', ...rest] = [...prefix(netns), process.execPath, '--conditions=source', ...args]
    const child = spawn(first, rest, { stdio: ['pipe', 'pipe', 'inherit'] })
    children.push(child)
    return child
  }
  return {
    run,
    serve: async (mode, args, netns) => {
      const child = start([PEER, mode, ...args], netns)
      const lines = await firstLine(child, 'ready')
      return () => nextLine(lines)
    },
    ask: (mode, args, { netns, uid } = {}) => {
      const as = uid === undefined ? [] : [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups']
      return JSON.parse(run('setpriv', [...as, process.execPath, PEER, mode, ...args], netns))
    },
    playGuest: (slot) => {
      const guest = `guest-${slot.netns}`
      const { guestAddress, guestMAC, gateway, gatewayMAC, prefixLength } = guestNetwork
      const lines = [
        `ip netns add ${guest} && ip -n ${slot.netns} link del ${slot.tap}`,
        `ip -n ${slot.netns} link add ${slot.tap} address ${gatewayMAC} type veth peer name eth0 netns ${guest} address ${guestMAC}`,
        `ip -n ${slot.netns} addr add ${gateway}/${prefixLength} dev ${slot.tap} && ip -n ${slot.netns} link set ${slot.tap} up`,
        `ip -n ${slot.netns} neigh replace ${guestAddress} lladdr ${guestMAC} dev ${slot.tap} nud permanent`,
        `ip -n ${guest} link set lo up && ip -n ${guest} addr add ${guestAddress}/${prefixLength} dev eth0`,
        `ip -n ${guest} link set eth0 up && ip -n ${guest} route add default via ${gateway}`,
      ]
      run('sh', ['-ec', lines.join('\n')])
      return guest
    },
    openSlots: async (options) => {
      const child = start([SLOTS_PROCESS])
      const lines = linesOf(child)
      await exchange(child, lines, { method: 'open', argument: options })
      return {
        call: (method, argument) => exchange(child, lines, { method, argument }),
        kill: async () => {
          const ended = once(child, 'exit')
          child.kill('SIGKILL')
          await ended
        },
      }
    },
    [Symbol.asyncDispose]: async () => {
      for (const child of children.toReversed()) {
        if (child.exitCode !== null || child.signalCode !== null) continue
        const ended = once(child, 'exit')
        child.kill('SIGKILL')
        await ended
      }
    },
  }
}

/** What a child says, line by line. Lines are kept from the start: one that is said while nobody waits is not lost. */
type Lines = AsyncIterator<string>

function linesOf(child: ChildProcess): Lines {
  if (!child.stdout) throw new Error('a child without output')
  return createInterface({ input: child.stdout })[Symbol.asyncIterator]()
}

async function firstLine(child: ChildProcess, expected: string): Promise<Lines> {
  const lines = linesOf(child)
  const line = await nextLine(lines)
  if (line !== expected) throw new Error(`expected ${JSON.stringify(expected)}, got ${JSON.stringify(line)}`)
  return lines
}

async function exchange<Result>(child: ChildProcess, lines: Lines, request: object): Promise<Result> {
  child.stdin?.write(`${JSON.stringify(request)}\n`)
  const { result, error } = JSON.parse(await nextLine(lines)) as { result?: Result; error?: string }
  if (error !== undefined) throw new Error(error)
  return result as Result
}

/** What a child says next; rejects when it has ended without another line, or is silent for a minute. */
async function nextLine(lines: Lines): Promise<string> {
  let timer: NodeJS.Timeout | undefined
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('the child says nothing')), 60_000)
  })
  try {
    const next = await Promise.race([lines.next(), silence])
    if (next.done === true) throw new Error('the child has ended')
    return next.value
  } finally {
    clearTimeout(timer)
  }
}
