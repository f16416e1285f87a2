import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { identify, isAlive, killAndWait, sendSignal, waitUntilGone } from './process.ts'

const children: ReturnType<typeof spawn>[] = []

async function sleeper() {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' })
  children.push(child)
  await once(child, 'spawn')
  const identity = identify(child.pid ?? 0)
  if (!identity) throw new Error('no identity')
  return identity
}

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

describe('a process', () => {
  it('is known by pid and start time', async () => {
    const identity = await sleeper()
    expect(identity.startTime).toBeGreaterThan(0)
    expect(isAlive(identity)).toBe(true)
    expect(isAlive({ ...identity, startTime: identity.startTime + 1 })).toBe(false)
    expect(identify(process.pid)?.startTime).toBeLessThanOrEqual(identity.startTime)
  })

  it('with spaces and parentheses in its name is still read right', async () => {
    // perl sets the name that field 2 of stat shows.
    const child = spawn('perl', ['-e', '$0 = "a) S 1 (b"; $| = 1; print "up\\n"; sleep 60'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    children.push(child)
    await once(child.stdout, 'data')
    const before = identify(process.pid)?.startTime ?? 0
    const identity = identify(child.pid ?? 0)
    expect(identity?.startTime).toBeGreaterThanOrEqual(before)
    expect(identity && isAlive(identity)).toBe(true)
  })

  it('is killed once, and again without complaint, and never under another start time', async () => {
    const identity = await sleeper()
    await killAndWait({ ...identity, startTime: identity.startTime + 1 })
    expect(isAlive(identity)).toBe(true)
    await killAndWait(identity)
    expect(identify(identity.pid)).toBeUndefined()
    await killAndWait(identity)
    expect(sendSignal(identity, 'SIGTERM')).toBe(false)
  })

  it('that nobody has waited for has ended all the same', async () => {
    const script =
      '$| = 1; my $pid = fork; exit 0 unless $pid; waitid(); print "$pid\\n"; sleep 60; sub waitid { select undef, undef, undef, 0.01 while `cut -d" " -f3 /proc/$pid/stat` !~ /Z/ }'
    const child = spawn('perl', ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
    children.push(child)
    const [line] = (await once(child.stdout, 'data')) as [Buffer]
    expect(identify(Number(line.toString()))).toBeUndefined()
  })

  it('under SIGSTOP counts as alive, and can be killed', async () => {
    const identity = await sleeper()
    sendSignal(identity, 'SIGSTOP')
    expect(isAlive(identity)).toBe(true)
    await expect(waitUntilGone(identity, 20)).rejects.toThrow(/still there after 20 ms/)
    await killAndWait(identity)
    expect(isAlive(identity)).toBe(false)
  })
})
