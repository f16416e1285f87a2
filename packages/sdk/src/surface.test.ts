// What the compiler promises to a program that uses the SDK; the assertions about types are checked by `npm run types`.
import { expect, expectTypeOf, it } from 'vitest'
import * as sdk from './index.ts'

it('exports what is documented, and nothing by accident', () => {
  expect(Object.keys(sdk).sort()).toEqual([
    'AuthenticationError',
    'CapacityError',
    'Command',
    'ConflictError',
    'ConnectionError',
    'InvalidRequestError',
    'LelantosClient',
    'LelantosError',
    'NotFoundError',
    'RateLimitError',
    'SandboxHandle',
    'TimeoutError',
    'UnavailableError',
    'createLelantos',
  ])
})

it('has the types of the documented calls', () => {
  const sandbox = new sdk.LelantosClient({ apiKey: 'k' }).sandbox('sbx1')
  expectTypeOf<sdk.LelantosClient['createSandbox']>().returns.resolves.toEqualTypeOf<sdk.SandboxHandle>()
  expectTypeOf<sdk.LelantosClient['resumeSandbox']>().returns.resolves.toEqualTypeOf<sdk.SandboxHandle>()
  expectTypeOf<sdk.LelantosClient['listSandboxes']>().toBeCallableWith({ user: 'u1' })
  expectTypeOf<sdk.LelantosClient['listSandboxes']>().toBeCallableWith({ metadata: { user: 'u1' } })
  expectTypeOf<sdk.LelantosClient['createSandbox']>().toBeCallableWith({ templateID: 'base', timeout: undefined })
  // @ts-expect-error -- a template is needed
  expectTypeOf<sdk.LelantosClient['createSandbox']>().toBeCallableWith({ timeout: 5 })
  // @ts-expect-error -- there is no such state
  expectTypeOf<sdk.LelantosClient['listSandboxesV2']>().toBeCallableWith({ state: 'sleeping' })
  expectTypeOf<sdk.SandboxHandle['commands']['run']>().returns.resolves.toEqualTypeOf<sdk.CommandResult>()
  // @ts-expect-error -- a program is needed
  expectTypeOf<sdk.SandboxHandle['commands']['run']>().toBeCallableWith([])
  const read = { text: () => sandbox.files.read('/a'), bytes: () => sandbox.files.read('/a', { format: 'bytes' }) }
  expectTypeOf(read.text).returns.resolves.toEqualTypeOf<string>()
  expectTypeOf(read.bytes).returns.resolves.toEqualTypeOf<Uint8Array>()
  expectTypeOf<sdk.SandboxDetail['state']>().toEqualTypeOf<'created' | 'running' | 'paused' | 'killed' | 'stopped'>()
})
