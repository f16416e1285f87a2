import { describe, expect, it } from 'vitest'
import { targetOf } from './target.ts'

const sandbox = (port: number) => ({ kind: 'sandbox', sandboxID: 'sbx1', port })
const api = { kind: 'api' }

describe('what a host means', () => {
  it.each([
    ['example.com', 'api.example.com', {}, api],
    ['example.com', 'example.com', {}, api],
    ['example.com', 'example.com', { 'e2b-sandbox-id': 'sbx1' }, api],
    ['example.com', '3000-sbx1.example.com', {}, sandbox(3000)],
    ['example.com', '3000-SBX1.Example.com:443', {}, sandbox(3000)],
    ['example.com', 'sbx1.example.com', {}, sandbox(49_983)],
    ['example.com', '3000-sbx1.example.com', { 'e2b-sandbox-id': 'sbx2', 'e2b-sandbox-port': '1' }, sandbox(3000)],
    ['example.com', 'sandbox.example.com', { 'e2b-sandbox-id': 'sbx1', 'e2b-sandbox-port': '8080' }, sandbox(8080)],
    ['example.com', 'sandbox.example.com', {}, api],
    ['example.com', '127.0.0.1:3000', { 'e2b-sandbox-id': 'SBX1', 'e2b-sandbox-port': '49999' }, sandbox(49_999)],
    ['example.com', '127.0.0.1:3000', { 'e2b-sandbox-id': 'sbx1' }, sandbox(49_983)],
    ['example.com', '[::1]:3000', { 'e2b-sandbox-id': 'sbx1' }, sandbox(49_983)],
    ['example.com', '127.0.0.1:3000', {}, api],
    ['e2b.localhost:8443', '80-sbx1.e2b.localhost:8443', {}, sandbox(80)],
    ['e2b.localhost:8443', 'api.e2b.localhost:8443', {}, api],
    ['localhost:3000', 'localhost:3000', { 'e2b-sandbox-id': 'sbx1' }, sandbox(49_983)],
    ['localhost:3000', 'localhost:3000', {}, api],
    ['localhost:3000', '3000-sbx1.localhost:3000', {}, sandbox(3000)],
    ['127.0.0.1:3000', '127.0.0.1:3000', { 'e2b-sandbox-id': 'sbx1' }, sandbox(49_983)],
    ['example.com', '', {}, api],
    ['example.com', 'a.b.example.com', {}, api],
  ])('with the domain %s, %s', (domain, host, headers, target) => {
    expect(targetOf({ host, ...headers }, domain)).toEqual(target)
  })

  it('refuses ports that are none', () => {
    for (const host of ['0-sbx1.localhost', '65536-sbx1.localhost', '123456-sbx1.localhost'])
      expect(targetOf({ host }, 'localhost').kind).toBe('malformed')
    expect(targetOf({ host: 'x', 'e2b-sandbox-id': 'a-b' }, 'localhost').kind).toBe('malformed')
  })
})
