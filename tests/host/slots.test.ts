// Network slots, firewall and DNS relay on a host of the test's own. Needs root.
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Slot } from '@lelantos-ai/worker/net/slot'
import { INTERNET, openPrivateHost, type PrivateHost, type RemoteSlots } from './private-host.ts'

interface Talk {
  told?: string
  refused?: string
  ms: number
}
interface Resolved {
  addresses?: string[]
  refused?: string
  ms: number
}

const GATEWAY = '169.254.0.22'
const CLIENT = 64_001
const OTHER_USER = 64_002
let folder: string
let resolvConf: string

beforeAll(async () => {
  folder = await mkdtemp(`${tmpdir()}/lelantos-slots-`)
  resolvConf = `${folder}/resolv.conf`
})
afterAll(() => rm(folder, { recursive: true }))

function options(installation: string, subnet: string) {
  return { installation, subnet, uidBase: 640_000, size: 4, idle: 1, clients: [CLIENT], resolvConf }
}

/** What an installation could leave on a host. */
function traces(host: PrivateHost): string {
  return [
    host.run('ip', ['-o', '-4', 'addr']),
    host.run('ip', ['netns']),
    host.run('nft', ['list', 'ruleset']),
    host.run('ip', ['-4', 'route', 'show', 'table', 'all']),
  ].join('---\n')
}

describe('two installations on one host', () => {
  let host: PrivateHost
  let before: string
  let first: RemoteSlots
  let second: RemoteSlots
  let slots: Slot[]
  let guests: string[]

  beforeAll(async () => {
    await writeFile(resolvConf, '# the host\nnameserver 127.0.0.53\nsearch example\n')
    host = await openPrivateHost()
    before = traces(host)
    first = await host.openSlots(options('aaaaa1', '10.201.0.0/16'))
    second = await host.openSlots(options('aaaaa2', '10.202.0.0/16'))
    slots = [await first.call<Slot>('acquire'), await first.call<Slot>('acquire'), await second.call<Slot>('acquire')]
    guests = slots.map((slot) => host.playGuest(slot))
    await Promise.all([
      ...guests.map((guest) => host.serve('serve', ['8080'], guest)),
      host.serve('serve', ['80'], 'internet'),
      host.serve('serve', ['9000']),
      host.serve('resolver', ['127.0.0.53', '192.0.2.53']),
    ])
  })
  afterAll(() => host?.[Symbol.asyncDispose]())

  const connectFrom = (netns: string | undefined, address: string, port: number, uid?: number) =>
    host.ask<Talk>('connect', [address, String(port)], {
      ...(netns === undefined ? {} : { netns }),
      ...(uid === undefined ? {} : { uid }),
    })

  it('reaches every port of a guest at the address of its slot, as root and as a client', () => {
    for (const slot of slots) {
      expect(connectFrom(undefined, slot.address, 8080).told).toMatch(/^10\.20[12]\./)
      expect(connectFrom(undefined, slot.address, 8080, CLIENT).told).toMatch(/^10\.20[12]\./)
      expect(connectFrom(undefined, slot.address, 8081).refused).toBe('ECONNREFUSED')
    }
  })

  it('lets no other user of the host open connections to a guest', () => {
    expect(connectFrom(undefined, slots[0]?.address ?? '', 8080, OTHER_USER)).toMatchObject({ refused: 'ECONNREFUSED' })
  })

  it('lets guests reach the internet as the host', () => {
    for (const guest of guests) expect(connectFrom(guest, INTERNET, 80).told).toBe('198.51.100.1')
  })

  it('lets guests reach no guest, no address of the host, no metadata, and says so at once', () => {
    const [guest = '', other] = guests
    expect(other).toBeDefined()
    // What they would reach is there: root on the host reaches it.
    expect(connectFrom(undefined, '198.51.100.1', 9000).told).toBeDefined()
    expect(connectFrom(undefined, '169.254.169.254', 80).told).toBeDefined()
    const forbidden: [string, number][] = [
      [slots[1]?.address ?? '', 8080],
      [slots[2]?.address ?? '', 8080],
      ['198.51.100.1', 9000],
      ['10.201.0.1', 9000],
      ['10.201.255.254', 9000],
      ['10.202.0.1', 9000],
      ['169.254.169.254', 80],
      [GATEWAY, 9000],
    ]
    for (const [address, port] of forbidden) {
      const talk = connectFrom(guest, address, port)
      expect(talk, `${address}:${port}`).toMatchObject({ refused: expect.stringMatching(/ECONNREFUSED|EHOSTUNREACH/) })
      expect(talk.ms, `${address}:${port}`).toBeLessThan(1000)
    }
  })

  it('lets nobody outside open connections to a guest', () => {
    host.run('ip', ['route', 'add', '10.201.0.0/16', 'via', '198.51.100.1'], 'internet')
    expect(connectFrom('internet', slots[0]?.address ?? '', 8080).refused).toBe('ECONNREFUSED')
    host.run('ip', ['route', 'del', '10.201.0.0/16'], 'internet')
  })

  it('has no IPv6 in a slot', () => {
    const inside = host.run('ip', ['-6', 'addr'], slots[0]?.netns)
    expect(inside).toBe('')
  })

  it('gives the tap to the user of the slot, with the MAC that snapshots remember', async () => {
    const slot = await first.call<Slot>('acquire')
    expect(slot.uid).toBe(640_000 + slot.index)
    const tap = host.run('ip', ['-d', 'link', 'show', 'tap0'], slot.netns)
    expect(tap).toContain(`user ${slot.uid}`)
    expect(tap).toContain('link/ether 02:00:00:00:00:02')
    expect(host.run('ip', ['neigh', 'show', 'dev', 'tap0'], slot.netns)).toMatch(
      /169\.254\.0\.21 lladdr 02:00:00:00:00:01 PERMANENT/,
    )
    await first.call('release', slot)
  })

  describe('the name server of a guest', () => {
    it('is the host resolver, on loopback as it is, over UDP and TCP', () => {
      for (const guest of guests) {
        expect(host.ask<Resolved>('resolve', [GATEWAY, 'a.example'], { netns: guest }).addresses).toEqual([
          '192.0.2.53',
        ])
      }
      const viaTCP = host.ask<Resolved>('resolve', [GATEWAY, 'big.example'], { netns: guests[0] ?? '' })
      expect(viaTCP.addresses).toEqual(['192.0.2.53'])
    })

    it('follows a change of resolv.conf, and passes over a resolver that is away', async () => {
      await host.serve('resolver', [INTERNET, '192.0.2.54'], 'internet')
      await writeFile(resolvConf, `nameserver 127.0.0.99\nnameserver ${INTERNET}\n`)
      const netns = guests[0] ?? ''
      const resolved = host.ask<Resolved>('resolve', [GATEWAY, 'a.example'], { netns })
      expect(resolved.addresses).toEqual(['192.0.2.54'])
      // 198.51.100.77 is nobody: that one is waited for.
      await writeFile(resolvConf, `nameserver 198.51.100.77\nnameserver ${INTERNET}\n`)
      expect(host.ask<Resolved>('resolve', [GATEWAY, 'big.example'], { netns }).addresses).toEqual(['192.0.2.54'])
      await writeFile(resolvConf, 'nameserver 127.0.0.99\n')
      expect(host.ask<Resolved>('resolve', [GATEWAY, 'a.example'], { netns })).toMatchObject({ refused: 'ESERVFAIL' })
      await writeFile(resolvConf, 'nameserver 127.0.0.53\n')
      expect(host.ask<Resolved>('resolve', [GATEWAY, 'a.example'], { netns }).addresses).toEqual(['192.0.2.53'])
    })
  })

  it('hands a slot out anew without its last guest', async () => {
    const before = await first.call<Slot>('acquire')
    host.run('ip', ['netns', 'exec', before.netns, 'sh', '-c', 'ip addr add 203.0.113.1/32 dev lo; nft flush ruleset'])
    await first.call('release', before)
    // Indexes are used in turn, so it takes a few until this one comes again.
    let slot: Slot
    for (let turn = 0; ; turn++) {
      slot = await first.call<Slot>('acquire')
      if (slot.index === before.index) break
      expect(turn).toBeLessThan(20)
      await first.call('release', slot)
    }
    expect(slot).toEqual(before)
    expect(host.run('ip', ['addr'], slot.netns)).not.toContain('203.0.113.1')
    expect(host.run('nft', ['list', 'ruleset'], slot.netns)).toContain('dnat to 169.254.0.21')
    await first.call('release', slot)
  })

  it('refuses one slot too many', async () => {
    const extra = [
      await second.call<Slot>('acquire'),
      await second.call<Slot>('acquire'),
      await second.call<Slot>('acquire'),
    ]
    await expect(second.call('acquire')).rejects.toThrow('all 4 network slots are in use')
    for (const slot of extra) await second.call('release', slot)
  })

  it('keeps slots in use over a restart of the worker, and removes the others', async () => {
    await first.kill()
    expect(connectFrom(undefined, slots[0]?.address ?? '', 8080).told).toBeDefined()
    first = await host.openSlots({ ...options('aaaaa1', '10.201.0.0/16'), idle: 0, inUse: [slots[0]?.index] })
    expect(host.run('ip', ['netns'])).toContain(slots[0]?.netns)
    expect(host.run('ip', ['netns'])).not.toContain(`${slots[1]?.netns} `)
    expect(await first.call('claim', slots[0]?.index)).toEqual(slots[0])
    await expect(first.call('claim', slots[1]?.index)).rejects.toThrow('was not kept')
    expect(connectFrom(undefined, slots[0]?.address ?? '', 8080).told).toBeDefined()
    expect(host.ask<Resolved>('resolve', [GATEWAY, 'a.example'], { netns: guests[0] ?? '' }).addresses).toEqual([
      '192.0.2.53',
    ])
    expect((await first.call<Slot>('acquire')).index).not.toBe(slots[0]?.index)

    await first.call('close', { keep: true })
    expect(connectFrom(guests[0], INTERNET, 80).told).toBe('198.51.100.1')
    first = await host.openSlots({ ...options('aaaaa1', '10.201.0.0/16'), inUse: [slots[0]?.index] })
  })

  it('leaves nothing on the host', async () => {
    await first.call('close', { keep: false })
    await second.call('close', { keep: false })
    for (const guest of guests) host.run('ip', ['netns', 'del', guest])
    expect(traces(host)).toBe(before)
  })
})

it('cuts connections of the last guest, and lets the next see nothing of them', async () => {
  await writeFile(resolvConf, 'nameserver 127.0.0.53\n')
  await using host = await openPrivateHost()
  const slots = await host.openSlots({ ...options('aaaaa4', '10.204.0.0/16'), size: 1, idle: 0 })
  const slot = await slots.call<Slot>('acquire')
  const guest = host.playGuest(slot)
  await host.serve('serve', ['8080'], guest)
  const ended = await host.serve('hold', [slot.address, '8080'])
  await slots.call('release', slot)
  host.run('ip', ['netns', 'del', guest])

  expect(await slots.call('acquire')).toEqual(slot)
  const next = host.playGuest(slot)
  expect(await ended()).toBe('{"refused":"ECONNRESET"}')
  const [names, values] = host
    .run('cat', ['/proc/net/snmp'], next)
    .split('\n')
    .filter((line) => line.startsWith('Tcp:'))
    .map((line) => line.split(' '))
  expect(values?.[names?.indexOf('InSegs') ?? -1]).toBe('0')
})

describe('where another firewall drops what is forwarded', () => {
  const hasIptables = ['iptables-nft', 'iptables-legacy'].every((tool) => {
    try {
      execFileSync(tool, ['--version'], { stdio: 'ignore' })
      return true
    } catch {
      return false
    }
  })
  const docker = (tool: string) => `
    ${tool} -P FORWARD DROP
    ${tool} -N DOCKER-USER && ${tool} -A DOCKER-USER -j RETURN && ${tool} -A FORWARD -j DOCKER-USER
    ${tool} -A FORWARD -i docker0 ! -o docker0 -j ACCEPT`
  const ufw = (tool: string) => `
    ${tool} -P FORWARD DROP && ${tool} -P INPUT DROP && ${tool} -P OUTPUT DROP
    ${tool} -A INPUT -i lo -j ACCEPT && ${tool} -A OUTPUT -o lo -j ACCEPT
    ${tool} -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`
  const firewalls: [string, string, string, boolean][] = [
    ['Docker over nf_tables', docker('iptables-nft'), 'iptables-nft -S', hasIptables],
    ['Docker over legacy iptables', docker('iptables-legacy'), 'iptables-legacy -S', hasIptables],
    ['ufw', ufw('iptables-nft'), 'iptables-nft -S', hasIptables],
    [
      'an nftables ruleset of its own',
      `nft -f - <<'END'
       table inet mine {
         chain forward { type filter hook forward priority 0; policy drop; }
         chain input { type filter hook input priority 0; policy drop; iif lo accept; ct state established accept; }
       }
END`,
      'nft list table inet mine',
      true,
    ],
  ]
  for (const [name, setUp, list, available] of firewalls) {
    // Needs the package iptables, which brings both forms; Lelantos itself does not.
    it.skipIf(!available)(`${name}: guests have internet and DNS, and its rules are as before afterwards`, async () => {
      await writeFile(resolvConf, 'nameserver 127.0.0.53\n')
      await using host = await openPrivateHost()
      host.run('sh', ['-ec', setUp])
      const before = host.run('sh', ['-c', list])
      const slots = await host.openSlots(options('aaaaa3', '10.203.0.0/16'))
      const slot = await slots.call<Slot>('acquire')
      const guest = host.playGuest(slot)
      await host.serve('serve', ['80'], 'internet')
      await host.serve('serve', ['8080'], guest)
      await host.serve('resolver', ['127.0.0.53', '192.0.2.53'])
      expect(host.ask<Talk>('connect', [INTERNET, '80'], { netns: guest }).told).toBe('198.51.100.1')
      expect(host.ask<Resolved>('resolve', [GATEWAY, 'a.example'], { netns: guest }).addresses).toEqual(['192.0.2.53'])
      expect(host.ask<Talk>('connect', [slot.address, '8080']).told).toBeDefined()
      expect(host.run('sh', ['-c', list])).not.toBe(before)
      // A worker that starts again adds nothing twice.
      const rules = host.run('sh', ['-c', list])
      await slots.kill()
      const again = await host.openSlots(options('aaaaa3', '10.203.0.0/16'))
      expect(host.run('sh', ['-c', list])).toBe(rules)
      await again.call('close', { keep: false })
      expect(host.run('sh', ['-c', list])).toBe(before)
    })
  }
})
