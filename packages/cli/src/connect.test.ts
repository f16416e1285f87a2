import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { findAccess } from './connect.ts'

let home: string
beforeEach(() => void (home = mkdtempSync(join(tmpdir(), 'lelantos-cli-'))))
afterEach(() => rmSync(home, { recursive: true }))

const nothing = { apiKey: undefined, apiURL: undefined, domain: undefined, debug: false }
const local = { apiURL: 'http://127.0.0.1:3000', apiKey: 'lel_local', domain: 'localhost' }
const write = (text: string) => writeFileSync(join(home, 'client.json'), text, { mode: 0o600 })

describe('access', () => {
  it("is the environment's, else that of the installation on this machine", () => {
    write(JSON.stringify(local))
    const given = { ...nothing, home, apiKey: 'lel_given', apiURL: 'https://api.x.test', domain: 'x.test' }
    expect(findAccess(given)).toEqual({ apiKey: 'lel_given', baseURL: 'https://api.x.test', domain: 'x.test' })
    const found = { apiKey: 'lel_local', baseURL: 'http://127.0.0.1:3000', domain: 'localhost' }
    expect(findAccess({ ...nothing, home })).toEqual(found)
    expect(findAccess({ ...nothing, home, apiURL: 'http://127.0.0.1:3000' })).toEqual(found)
  })

  it('never sends the key of one installation to another', () => {
    write(JSON.stringify(local))
    const elsewhere = () => findAccess({ ...nothing, home, apiURL: 'https://api.x.test' })
    expect(elsewhere).toThrow('there is no API key for https://api.x.test')
    expect(elsewhere).not.toThrow('lel_local')
  })

  it('says how to get one', () => {
    expect(() => findAccess({ ...nothing, home })).toThrow('eval "$(./lelantos env)"')
    write('{')
    expect(() => findAccess({ ...nothing, home })).toThrow('./lelantos up writes it anew')
  })
})
