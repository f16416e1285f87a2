// `npm run bench`: an installation of its own, measured against the bare engine and the direct way in the same run. Prints a
// table, writes JSON to bench/results/. Needs root and what `./lelantos test` installs. `--runs N` (20 unless given).
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, release } from 'node:os'
import { join } from 'node:path'
import { execFileSync } from 'node:child_process'
import type { LelantosClient, SandboxHandle } from '@lelantos-ai/sdk'
import { Agent } from 'node:http'
import { Installation } from '../tests/system/installation.ts'
import { type Bare, BareNetwork, pssMB, restoreBare } from './bare.ts'
import { type Door, echo } from './echo.ts'
import { against, type Figure, spread, table, timed } from './figures.ts'
import { openTemplate } from './template.ts'

const runs = Number(process.argv[process.argv.indexOf('--runs') + 1]) || 20
const say = (text: string) => process.stderr.write(`${text}\n`)

const installation = await Installation.start()
try {
  const figures: Figure[] = []
  const client = await installation.client()
  const template = await templateOf(client)
  const emptyOverlay = join(installation.home, 'empty.qcow2')
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', emptyOverlay, `${template.world.shape.diskSizeMB}M`])
  using network = new BareNetwork()
  const bare = () => restoreBare(template, network, emptyOverlay)

  figures.push(...(await restores(client, bare)))
  figures.push(await execs(client))
  figures.push(await memory(client, bare))
  figures.push(...(await pauses(client)))
  figures.push(...(await cycles(client)))
  console.log(`${table(figures)}\n`)
  write(figures)
} finally {
  await installation.remove()
}

/** The template's snapshot, found by the memory of a sandbox that is made from it. Nothing is being paused meanwhile. */
async function templateOf(client: LelantosClient) {
  await using sandbox = await client.createSandbox({ templateID: 'base', timeout: 600 })
  return await openTemplate(installation.home, (await inspect(sandbox.sandboxID)).files.memory)
}

async function inspect(sandboxID: string): Promise<{ pid: number; address: string; files: { memory: string } }> {
  const { stdout } = await installation.host(['inspect', sandboxID, '--json'])
  return JSON.parse(stdout) as { pid: number; address: string; files: { memory: string } }
}

/** Create and resume through the API, beside the bare restore, in turns. */
async function restores(client: LelantosClient, bare: () => Promise<Bare>): Promise<Figure[]> {
  const times = { bare: [] as number[], create: [] as number[], pause: [] as number[], resume: [] as number[] }
  for (let run = -1; run < runs; run++) {
    await using machine = await bare()
    let sandbox: SandboxHandle | undefined
    const create = await timed(async () => (sandbox = await client.createSandbox({ templateID: 'base', timeout: 600 })))
    const pause = await timed(async () => sandbox?.pause())
    const resume = await timed(async () => sandbox?.resume())
    await sandbox?.kill()
    if (run < 0) continue // the first of each warms the page cache
    times.bare.push(machine.restoredMs)
    times.create.push(create)
    times.pause.push(pause)
    times.resume.push(resume)
    say(
      `restore ${run + 1}/${runs}: bare ${machine.restoredMs.toFixed(0)}, create ${create.toFixed(0)}, pause ${pause.toFixed(0)}, resume ${resume.toFixed(0)} ms`,
    )
  }
  const beside = { name: 'bare restore', values: times.bare, goal: 1.25 }
  return [
    against('create', 'ms', times.create, beside),
    against('resume', 'ms', times.resume, beside),
    { name: 'pause, idle', unit: 'ms', measured: spread(times.pause) },
  ]
}

/** `echo` through the edge, beside the same sent straight to the same guest. */
async function execs(client: LelantosClient): Promise<Figure> {
  const { apiURL } = await installation.credentials()
  const url = new URL(apiURL)
  const sandbox = await client.createSandbox({ templateID: 'base', timeout: 600 })
  const { address } = JSON.parse((await installation.host(['inspect', sandbox.sandboxID, '--json'])).stdout) as {
    address: string
  }
  const token = (await sandbox.getDetails()).envdAccessToken ?? ''
  const agent = new Agent({ keepAlive: true })
  const straight: Door = { host: address, port: 49_983, headers: { 'X-Access-Token': token }, agent }
  const edge: Door = {
    host: url.hostname,
    port: Number(url.port),
    headers: { 'X-Access-Token': token, 'E2b-Sandbox-Id': sandbox.sandboxID, 'E2b-Sandbox-Port': '49983' },
    agent,
  }
  const times = { straight: [] as number[], edge: [] as number[] }
  for (let run = -5; run < runs * 2; run++) {
    const direct = await timed(() => echo(straight))
    const through = await timed(() => echo(edge))
    if (run < 0) continue
    times.straight.push(direct)
    times.edge.push(through)
  }
  agent.destroy()
  await sandbox.kill()
  return against('exec of echo', 'ms', times.edge, { name: 'straight to the guest', values: times.straight, goal: 1.3 })
}

/** Memory of an idle sandbox that has run one command, beside the same guest under the bare command. */
async function memory(client: LelantosClient, bare: () => Promise<Bare>): Promise<Figure> {
  const sandboxes = await Promise.all(
    Array.from({ length: 4 }, () => client.createSandbox({ templateID: 'base', timeout: 600 })),
  )
  const pids: number[] = []
  for (const sandbox of sandboxes) {
    await sandbox.commands.run('echo hi')
    pids.push((await inspect(sandbox.sandboxID)).pid)
  }
  await using machine = await bare()
  await echo(machine.door)
  const figure = against('PSS of an idle sandbox', 'MB', pids.map(pssMB), {
    name: 'bare, beside them',
    values: [pssMB(machine.pid)],
    goal: 1.05,
  })
  await Promise.all(sandboxes.map((sandbox) => sandbox.kill()))
  return figure
}

/** A pause after 100 MB have been touched. */
async function pauses(client: LelantosClient): Promise<Figure[]> {
  const times = { pause: [] as number[], resume: [] as number[] }
  for (let run = 0; run < Math.ceil(runs / 2); run++) {
    const sandbox = await client.createSandbox({ templateID: 'base', timeout: 600 })
    await sandbox.commands.run('head -c 104857600 /dev/urandom > /dev/shm/touched')
    times.pause.push(await timed(() => sandbox.pause()))
    times.resume.push(await timed(() => sandbox.resume()))
    await sandbox.kill()
    say(`pause with 100 MB touched ${run + 1}: ${times.pause.at(-1)?.toFixed(0)} ms`)
  }
  return [
    { name: 'pause, 100 MB touched', unit: 'ms', measured: spread(times.pause) },
    { name: 'resume after it', unit: 'ms', measured: spread(times.resume) },
  ]
}

/** Cycles in which a counter keeps its process, 50 MB of files their hash, and the clock is right. Rejects when one does not. */
async function cycles(client: LelantosClient): Promise<Figure[]> {
  const sandbox = await client.createSandbox({ templateID: 'base', timeout: 3600 })
  await sandbox.commands.run(
    'mkdir /root/files; for i in $(seq 50); do head -c 1048576 /dev/urandom > /root/files/$i; done; sha256sum /root/files/* > /root/sums; (i=0; while :; do i=$((i+1)); echo $i > /dev/shm/count; sleep 0.05; done) > /dev/null 2>&1 & echo $! > /dev/shm/pid',
  )
  const offsets: number[] = []
  const pause: number[] = []
  const resume: number[] = []
  for (let run = 0; run < runs; run++) {
    const before = Number((await sandbox.commands.run('cat /dev/shm/count')).stdout)
    pause.push(await timed(() => sandbox.pause()))
    resume.push(await timed(() => sandbox.resume()))
    offsets.push(await clockOffset(sandbox))
    const after = (
      await sandbox.commands.run(
        'kill -0 $(cat /dev/shm/pid) && cat /dev/shm/count; sha256sum --check --quiet /root/sums && echo whole',
      )
    ).stdout.split('\n')
    if (!(Number(after[0]) >= before) || after[1] !== 'whole')
      throw new Error(`cycle ${run + 1} lost something: ${JSON.stringify(after)}`)
    say(
      `cycle ${run + 1}/${runs}: pause ${pause.at(-1)?.toFixed(0)}, resume ${resume.at(-1)?.toFixed(0)} ms, clock off by ${offsets.at(-1)?.toFixed(0)} ms`,
    )
  }
  await sandbox.kill()
  return [
    { name: 'cycles: pause', unit: 'ms', measured: spread(pause) },
    { name: 'cycles: resume', unit: 'ms', measured: spread(resume) },
    { name: 'cycles: clock off by', unit: 'ms', measured: spread(offsets) },
  ]
}

/** How far the guest's clock is from ours, at most: the reading lies somewhere between request and reply, so the best of a few is taken. */
async function clockOffset(sandbox: SandboxHandle): Promise<number> {
  let least = Number.POSITIVE_INFINITY
  for (let attempt = 0; attempt < 5; attempt++) {
    const sent = Date.now()
    const guest = Number((await sandbox.commands.run('date +%s%3N')).stdout)
    const received = Date.now()
    const off = guest < sent ? sent - guest : guest > received ? guest - received : 0
    least = Math.min(least, off)
  }
  return least
}

function write(figures: readonly Figure[]): void {
  const folder = join(import.meta.dirname, 'results')
  mkdirSync(folder, { recursive: true })
  const model = /^model name\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]
  const result = {
    at: new Date().toISOString(),
    machine: { cpus: cpus().length, model, kernel: release(), loadAverage: loadavg() },
    figures,
  }
  const path = join(folder, `${result.at.replaceAll(':', '-')}.json`)
  writeFileSync(path, `${JSON.stringify(result, undefined, 2)}\n`)
  copyFileSync(path, join(folder, 'latest.json'))
  say(`wrote ${path}`)
}
