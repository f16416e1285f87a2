import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { expect, it } from 'vitest'
import { mustBeFree } from './listening.ts'

it('says that a port is taken, and by what flag another is chosen', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const { port } = other.address() as AddressInfo
  await expect(mustBeFree({ host: '127.0.0.1', port })).rejects.toThrow(`port ${port} of 127.0.0.1 is taken`)
  other.close()
  await once(other, 'close')
  await expect(mustBeFree({ host: '127.0.0.1', port })).resolves.toBeUndefined()
})

it('says that an address is none of this machine', async () => {
  await expect(mustBeFree({ host: '192.0.2.1', port: 1 })).rejects.toThrow('--host 192.0.2.1 cannot be listened on')
})
