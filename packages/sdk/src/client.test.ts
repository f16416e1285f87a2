import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LelantosClient } from './client.ts'
import { AuthenticationError, ConflictError, NotFoundError } from './errors.ts'
import { createLelantos } from './namespaced.ts'
import { WireServer } from './testing/wire-server.ts'

let server: WireServer
let client: LelantosClient

beforeEach(async () => {
  server = await WireServer.start()
  client = new LelantosClient({ apiKey: server.apiKey, baseURL: server.url })
})
afterEach(async () => await server[Symbol.asyncDispose]())

describe('sandboxes', () => {
  it('go through their life', async () => {
    const created = { templateID: 'base', timeout: 60, metadata: { user: 'u1' }, envVars: { MODE: 'x' } }
    const sandbox = await client.createSandbox(created)
    expect(JSON.parse(server.to('/sandboxes')[0]?.body.toString() ?? '')).toEqual(created)
    expect(sandbox.getURL(8000)).toBe(`http://8000-${sandbox.sandboxID}.localhost:${new URL(server.url).port}`)
    expect(await sandbox.getDetails()).toMatchObject({ state: 'running', status: 'running', metadata: { user: 'u1' } })
    await sandbox.pause()
    await expect(sandbox.pause()).rejects.toBeInstanceOf(ConflictError)
    expect(await sandbox.resume({ timeout: 90 })).toBe(sandbox)
    await expect(client.resumeSandbox(sandbox.sandboxID)).rejects.toMatchObject({ code: 'not_paused', status: 409 })
    await sandbox.setTimeout(0)
    await sandbox.refresh(120)
    const bodies = ['timeout', 'refresh'].map((verb) => server.to(`/sandboxes/${sandbox.sandboxID}/${verb}`)[0]?.body)
    expect(bodies.map(String)).toEqual(['{"timeout":0}', '{"timeout":120}'])
    expect(await sandbox.getMetrics()).toEqual({
      cpuCount: 2,
      cpuUsedPct: 12.5,
      memUsed: 104_857_600,
      memTotal: 536_870_912,
      diskUsed: 1_073_741_824,
      diskTotal: 21_474_836_480,
    })
    await sandbox.kill()
    expect((await sandbox.getLogs({ start: 2 })).logs.map(({ line }) => line)).toEqual([
      'sandbox.lifecycle.paused',
      'sandbox.lifecycle.killed',
    ])
    await expect(sandbox.kill()).rejects.toBeInstanceOf(NotFoundError)
    expect(await client.getSandbox(sandbox.sandboxID, { terminated: true })).toMatchObject({ state: 'killed' })
  })

  it('end with the block that holds them, also when they have ended before', async () => {
    let sandboxID: string
    {
      await using sandbox = await client.createSandbox({ templateID: 'base' })
      sandboxID = sandbox.sandboxID
    }
    expect(server.controlPlane.sandboxes.get(sandboxID)?.state).toBe('killed')
    await using again = client.sandbox(sandboxID)
    expect(again.sandboxID).toBe(sandboxID)
  })

  it('are listed by metadata, in either way of saying it, whatever is in it', async () => {
    const metadata = { 'a b': 'c&d=ü%20', plain: '1' }
    const { sandboxID } = server.controlPlane.add({ metadata })
    server.controlPlane.add({ metadata: { plain: '1' } })
    for (const filter of [metadata, { metadata }]) {
      expect((await client.listSandboxes(filter)).map((sandbox) => sandbox.sandboxID)).toEqual([sandboxID])
    }
    // `metadata` may itself be a name in it.
    server.controlPlane.add({ metadata: { metadata: 'x' } })
    expect(await client.listSandboxes({ metadata: 'x' })).toHaveLength(1)
    expect(await client.listSandboxes()).toHaveLength(3)
  })

  it('are listed by page and state', async () => {
    for (let n = 0; n < 5; n++) server.controlPlane.add({ state: n === 4 ? 'killed' : 'running' })
    const seen: string[] = []
    let nextToken: string | undefined
    do {
      const page = await client.listSandboxesV2({ limit: 2, nextToken, state: ['running', 'paused'] })
      seen.push(...page.data.map((sandbox) => sandbox.sandboxID))
      nextToken = page.nextToken
    } while (nextToken !== undefined)
    expect(new Set(seen).size).toBe(4)
    expect((await client.listSandboxesV2({ state: 'killed' })).data).toHaveLength(1)
  })

  it('are addressed by an id that can name no other route', async () => {
    for (const id of ['', '.', '..', 'a/b', 'a?b', ' ']) {
      await expect(client.killSandbox(id)).rejects.toMatchObject({ code: 'invalid_option' })
    }
    expect(server.requests).toEqual([])
  })
})

describe('keys and templates', () => {
  it('are listed, made and deleted', async () => {
    const lelantos = createLelantos({ apiKey: server.apiKey, baseURL: server.url })
    expect((await lelantos.templates.list())[0]?.names).toEqual(['base'])
    const { id, apiKey } = await lelantos.keys.create('ci')
    expect(apiKey).toMatch(/^lel_/)
    expect(await lelantos.keys.list()).toMatchObject([{ id, name: 'ci' }])
    await lelantos.keys.delete(id)
    await expect(lelantos.keys.delete(id)).rejects.toMatchObject({ code: 'key_not_found' })
    const sandbox = await lelantos.sandboxes.create({ templateID: 'base' })
    expect(await lelantos.sandboxes.list()).toHaveLength(1)
    await lelantos.sandboxes.kill(sandbox.sandboxID)
  })
})

describe('errors', () => {
  it('name the thing, and carry code, status and request id', async () => {
    await expect(client.getSandbox('sbx1')).rejects.toMatchObject({
      name: 'NotFoundError',
      code: 'sandbox_not_found',
      status: 404,
      requestId: 'req-1',
      message: 'sandbox sbx1 was not found',
    })
  })

  it('never show the key', async () => {
    const secret = `lel_${'ab'.repeat(20)}`
    const wrong = new LelantosClient({ apiKey: secret, baseURL: server.url })
    const refused: unknown = await wrong.getTemplates().catch((error: unknown) => error)
    expect(refused).toBeInstanceOf(AuthenticationError)
    const gone = await WireServer.start()
    const nobody = new LelantosClient({ apiKey: secret, baseURL: gone.url })
    await gone[Symbol.asyncDispose]()
    const lost: unknown = await nobody.getTemplates().catch((error: unknown) => error)
    expect(lost).toMatchObject({ name: 'ConnectionError', message: expect.stringContaining('connection refused') })
    for (const shown of [wrong, refused, lost, wrong.sandbox('sbx1')]) {
      expect(inspect(shown, { depth: 9, showHidden: true })).not.toContain(secret)
      expect(JSON.stringify(shown)).not.toContain(secret)
    }
  })
})
