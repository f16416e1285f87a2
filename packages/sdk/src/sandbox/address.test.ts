import { describe, expect, it } from 'vitest'
import { sandboxAddress, sandboxURL } from './address.ts'

const headers = { 'E2b-Sandbox-Id': 'sbx1', 'E2b-Sandbox-Port': '49983' }

describe('address of a sandbox', () => {
  it('is a name where DNS has names', () => {
    const place = { baseURL: 'https://api.lelantos.ai', domain: 'lelantos.ai' }
    expect(sandboxAddress(place, 'sbx1', 49_983)).toEqual({ url: 'https://49983-sbx1.lelantos.ai', headers })
    expect(sandboxURL(place, 'sbx1', 8000)).toBe('https://8000-sbx1.lelantos.ai')
    expect(sandboxURL(place, 'sbx1')).toBe('https://sbx1.lelantos.ai')
    expect(sandboxURL({ baseURL: 'https://api.x.test', domain: 'boxes.test:8443' }, 'sbx1', 80)).toBe(
      'https://80-sbx1.boxes.test:8443',
    )
  })

  it("is the API's listener where there are none", () => {
    for (const [baseURL, domain] of [
      ['http://localhost:3000', 'localhost:3000'],
      ['http://127.0.0.1:3000', '127.0.0.1:3000'],
      ['http://[::1]:3000', '[::1]:3000'],
      ['http://10.0.0.7:3000', 'boxes.test'],
    ] as const) {
      expect(sandboxAddress({ baseURL, domain }, 'sbx1', 49_983)).toEqual({ url: baseURL, headers })
    }
  })

  it('is for people a name under localhost there, with the port of the listener', () => {
    for (const domain of ['localhost', 'localhost:3100', '127.0.0.1:3100', '[::1]:3100']) {
      expect(sandboxURL({ baseURL: 'http://127.0.0.1:3100', domain }, 'sbx1', 8000)).toBe(
        'http://8000-sbx1.localhost:3100',
      )
    }
  })

  it('keeps scheme and port of a listener without TLS', () => {
    const place = { baseURL: 'http://api.boxes.test:3000', domain: 'boxes.test' }
    expect(sandboxAddress(place, 'sbx1', 49_983).url).toBe('http://49983-sbx1.boxes.test:3000')
  })
})
