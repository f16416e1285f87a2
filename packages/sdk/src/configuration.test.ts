import { beforeEach, describe, expect, it, vi } from 'vitest'
import { configure } from './configuration.ts'
import { AuthenticationError } from './errors.ts'

beforeEach(() => {
  for (const name of ['LELANTOS_API_KEY', 'LELANTOS_API_URL', 'LELANTOS_DOMAIN']) vi.stubEnv(name, '')
  return () => void vi.unstubAllEnvs()
})

describe('configuration', () => {
  it('takes options, then the environment, then the public installation', () => {
    expect(configure({ apiKey: 'k' })).toMatchObject({ baseURL: 'https://api.lelantos.ai', domain: 'lelantos.ai' })
    vi.stubEnv('LELANTOS_API_KEY', 'lel_env')
    vi.stubEnv('LELANTOS_API_URL', 'http://127.0.0.1:3100/')
    expect(configure({})).toMatchObject({
      apiKey: 'lel_env',
      baseURL: 'http://127.0.0.1:3100',
      domain: '127.0.0.1:3100',
    })
    vi.stubEnv('LELANTOS_DOMAIN', 'sandboxes.test')
    expect(configure({})).toMatchObject({
      baseURL: 'http://127.0.0.1:3100',
      domain: 'sandboxes.test',
      domainFrom: 'given',
    })
    expect(configure({ baseURL: 'https://api.other.test' })).toMatchObject({
      domain: 'other.test',
      domainFrom: 'baseURL',
    })
    expect(configure({ domain: 'other.test' })).toMatchObject({ baseURL: 'https://api.other.test' })
  })

  it('finds a local installation by its domain alone', () => {
    const baseURL = (domain: string) => configure({ apiKey: 'k', domain }).baseURL
    expect(baseURL('localhost')).toBe('http://localhost:3000')
    expect(baseURL('localhost:3100')).toBe('http://localhost:3100')
    expect(baseURL('10.0.0.7')).toBe('http://10.0.0.7:3000')
    expect(baseURL('[::1]:3100')).toBe('http://[::1]:3100')
  })

  it('refuses what cannot be meant, without repeating a secret', () => {
    expect(() => configure({})).toThrow(AuthenticationError)
    expect(() => configure({})).toThrow('LELANTOS_API_KEY')
    const bad = [
      { apiKey: 'lel_secret\n' },
      { apiKey: 'k', baseURL: 'http://user:secret@host' },
      { apiKey: 'k', baseURL: 'localhost' },
      { apiKey: 'k', baseURL: 'ftp://secret' },
      { apiKey: 'k', domain: 'https://lelantos.ai' },
      { apiKey: 'k', timeout: -1 },
      { apiKey: 'k', retries: 1.5 },
    ]
    for (const options of bad) {
      const refused = expect(() => configure(options))
      refused.toThrow(expect.objectContaining({ code: 'invalid_option' }))
      refused.not.toThrow('secret')
    }
  })
})
