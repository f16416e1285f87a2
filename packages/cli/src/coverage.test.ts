// Every route of the contract is a method of the SDK and a command, or is listed here with the reason.
import { routes } from '@lelantos-ai/contract'
import { LelantosClient } from '@lelantos-ai/sdk'
import { routes as wireRoutes } from '../../sdk/src/wire.ts'
import { expect, it } from 'vitest'
import { buildProgram } from './program.ts'

const covered: Record<keyof typeof routes, { method?: keyof LelantosClient; command?: string; because?: string }> = {
  health: { because: 'for load balancers' },
  openapi: { because: 'for generators and pages' },
  createSandbox: { method: 'createSandbox', command: 'create' },
  listSandboxes: { method: 'listSandboxes', command: 'ls' },
  listSandboxesV2: { method: 'listSandboxesV2', command: 'ls' },
  getSandbox: { method: 'getSandbox', command: 'get' },
  killSandbox: { method: 'killSandbox', command: 'kill' },
  pauseSandbox: { method: 'pauseSandbox', command: 'pause' },
  resumeSandbox: { method: 'resumeSandbox', command: 'resume' },
  setSandboxTimeout: { method: 'setSandboxTimeout', command: 'timeout' },
  refreshSandbox: { method: 'refreshSandbox', because: 'a person sets a timeout' },
  sandboxLogs: { method: 'getSandboxLogs', command: 'logs' },
  sandboxMetrics: { method: 'getSandboxMetrics', command: 'metrics' },
  exec: { because: "commands.run and exec stream over the guest daemon's wire" },
  readFile: { because: "files.read and cp stream over the guest daemon's wire" },
  writeFile: { because: "files.write and cp stream over the guest daemon's wire" },
  listTemplates: { method: 'getTemplates', command: 'template ls' },
  getTemplate: { method: 'getTemplate', because: 'template ls shows all there is' },
  listKeys: { method: 'listKeys', command: 'key ls' },
  createKey: { method: 'createKey', command: 'key create' },
  deleteKey: { method: 'deleteKey', command: 'key rm' },
}

it('reaches every route by SDK and command', () => {
  const program = buildProgram({
    environment: { apiKey: undefined, apiURL: undefined, domain: undefined, home: '', debug: false },
    signal: new AbortController().signal,
    remote: undefined,
    settle: () => {},
  })
  const commands = program.commands.flatMap((command) => [
    command.name(),
    ...command.commands.map((sub) => `${command.name()} ${sub.name()}`),
  ])
  const client = new LelantosClient({ apiKey: 'k' })
  for (const [route, { method, command, because }] of Object.entries(covered)) {
    if (method !== undefined) expect([route, typeof client[method]]).toEqual([route, 'function'])
    if (command !== undefined) expect(commands).toContain(command)
    if (method === undefined || command === undefined) expect([route, because]).not.toEqual([route, undefined])
  }
  expect(Object.keys(covered).sort()).toEqual(Object.keys(routes).sort())
  expect(Object.entries(wireRoutes)).toEqual(
    Object.entries(routes).map(([name, { method, path }]) => [name, { method, path }]),
  )
})
