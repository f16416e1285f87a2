// Who may enter, what /init does, and the daemon's own routes.
import { describe, expect, it } from 'vitest'
import { control, initBody, startDaemon, testUser, type Daemon } from './daemon.ts'
import { call } from './wire.ts'

const rpc = async (daemon: Daemon, params: object, signal?: AbortSignal) => {
  const response = await fetch(`${daemon.url}/rpc`, {
    method: 'POST',
    headers: { 'X-Access-Token': daemon.token },
    body: JSON.stringify({ method: 'exec', params: { user: testUser, ...params } }),
    ...(signal === undefined ? {} : { signal }),
  })
  return { status: response.status, body: (await response.json()) as Record<string, unknown> }
}

const envs = (daemon: Daemon, token = daemon.token) =>
  fetch(`${daemon.url}/envs`, { headers: { 'X-Access-Token': token } })

describe('/init', () => {
  it('opens what was shut, to the holder of the token alone', async () => {
    await using daemon = await startDaemon({ open: false })
    expect((await fetch(`${daemon.url}/health`)).status).toBe(204)
    expect((await envs(daemon)).status).toBe(401)
    expect((await control(daemon, '/init', initBody(daemon.token), 'wrong')).status).toBe(401)
    expect((await control(daemon, '/init', initBody(daemon.token, { entropy: 'AAAA' }))).status).toBe(400)
    expect((await envs(daemon)).status).toBe(401)
    expect((await control(daemon, '/init', initBody(daemon.token))).status).toBe(204)
    expect((await envs(daemon, `${daemon.token}0`)).status).toBe(401)
    expect(await (await envs(daemon)).json()).toEqual({
      E2B_SANDBOX: 'true',
      E2B_SANDBOX_ID: 'sbxtest',
      E2B_TEMPLATE_ID: 'base',
      LELANTOS_SANDBOX_ID: 'sbxtest',
      MODE: 'x',
    })
    expect((await control(daemon, '/init', JSON.stringify({ timestamp: new Date().toISOString() }))).status).toBe(204)
    expect((await control(daemon, '/sync', '')).status).toBe(204)
    expect((await control(daemon, '/sync', '', daemon.token)).status).toBe(401)
  })

  it('keeps the environment where none is sent', async () => {
    await using daemon = await startDaemon({ open: true })
    expect((await control(daemon, '/init', initBody(daemon.token, { envVars: undefined }))).status).toBe(204)
    expect(await (await envs(daemon)).json()).toMatchObject({ MODE: 'x' })
    expect((await control(daemon, '/init', initBody(daemon.token, { envVars: {} }))).status).toBe(204)
    expect(await (await envs(daemon)).json()).not.toHaveProperty('MODE')
  })

  it('opens a sandbox whose default user was deleted, for those who name another', async () => {
    await using daemon = await startDaemon({ open: true })
    const body = initBody(daemon.token, { defaultUser: 'nosuchuser' })
    expect((await control(daemon, '/init', body)).status).toBe(204)
    expect((await call(daemon, 'filesystem.Filesystem/Stat', { path: '/' })).body).toEqual({
      code: 'unauthenticated',
      message: "invalid username: 'nosuchuser'",
    })
    expect((await call(daemon, 'filesystem.Filesystem/Stat', { path: '/' }, { user: 'root' })).status).toBe(200)
  })
})

it('runs a command to its end over /rpc', async () => {
  await using daemon = await startDaemon({ open: true })
  const result = await rpc(daemon, {
    cmd: 'echo $MODE $MINE; pwd; echo oops >&2; exit 4',
    cwd: '/usr',
    envs: { MINE: 'y' },
  })
  expect(result).toEqual({ status: 200, body: { stdout: 'x y\n/usr\n', stderr: 'oops\n', exitCode: 4 } })
  expect((await rpc(daemon, { cmd: 'kill -TERM $$' })).body['exitCode']).toBe(143)
  expect((await rpc(daemon, { cmd: 'sleep 60', timeout: 0.3 })).status).toBe(504)
  expect((await rpc(daemon, { cmd: 'head -c 17000000 /dev/zero' })).body).toEqual({
    code: 413,
    message: expect.stringContaining('16777216 bytes') as string,
  })
  for (const params of [
    {},
    { cmd: 'true', timeout: 0 },
    { cmd: 'true', timeout: 4000 },
    { cmd: 'true', user: 'nosuchuser' },
  ])
    expect((await rpc(daemon, params)).status).toBe(400)
  const other = await fetch(`${daemon.url}/rpc`, {
    method: 'POST',
    headers: { 'X-Access-Token': daemon.token },
    body: '{"method":"reboot"}',
  })
  expect(other.status).toBe(400)
})

it('runs many commands at once, each with its own output and status', async () => {
  await using daemon = await startDaemon({ open: true })
  const results = await Promise.all(Array.from({ length: 40 }, (_, n) => rpc(daemon, { cmd: `echo ${n}; exit ${n}` })))
  expect(results.map((result) => result.body)).toEqual(
    Array.from({ length: 40 }, (_, n) => ({ stdout: `${n}\n`, stderr: '', exitCode: n })),
  )
})

it('measures in bytes and per cent of one CPU', async () => {
  await using daemon = await startDaemon({ open: true })
  const response = await fetch(`${daemon.url}/metrics`, { headers: { 'X-Access-Token': daemon.token } })
  const sample = (await response.json()) as Record<string, number>
  const names = ['cpu_count', 'cpu_used_pct', 'disk_total', 'disk_used', 'mem_cache', 'mem_total', 'mem_used', 'ts']
  expect(Object.keys(sample).toSorted()).toEqual(names)
  expect(Math.abs(sample['ts']! - Date.now() / 1000)).toBeLessThan(10)
  expect(sample['mem_total']).toBeGreaterThan(sample['mem_used']!)
  expect(sample['disk_total']).toBeGreaterThan(sample['disk_used']!)
})
