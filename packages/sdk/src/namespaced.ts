// The same client with its verbs under nouns: `lelantos.sandboxes.create(...)`.
import { LelantosClient } from './client.ts'
import type { ClientOptions } from './configuration.ts'

/** Binds each verb to one client. Options are those of `LelantosClient`. */
export function createLelantos(options: ClientOptions = {}): Lelantos {
  const client = new LelantosClient(options)
  return {
    client,
    sandboxes: {
      create: client.createSandbox.bind(client),
      list: client.listSandboxes.bind(client),
      listPage: client.listSandboxesV2.bind(client),
      get: client.getSandbox.bind(client),
      handle: client.sandbox.bind(client),
      kill: client.killSandbox.bind(client),
      pause: client.pauseSandbox.bind(client),
      resume: client.resumeSandbox.bind(client),
      setTimeout: client.setSandboxTimeout.bind(client),
      refresh: client.refreshSandbox.bind(client),
      logs: client.getSandboxLogs.bind(client),
      metrics: client.getSandboxMetrics.bind(client),
    },
    templates: { list: client.getTemplates.bind(client), get: client.getTemplate.bind(client) },
    keys: {
      list: client.listKeys.bind(client),
      create: client.createKey.bind(client),
      delete: client.deleteKey.bind(client),
    },
  }
}

export interface Lelantos {
  readonly client: LelantosClient
  readonly sandboxes: {
    readonly create: LelantosClient['createSandbox']
    readonly list: LelantosClient['listSandboxes']
    readonly listPage: LelantosClient['listSandboxesV2']
    readonly get: LelantosClient['getSandbox']
    readonly handle: LelantosClient['sandbox']
    readonly kill: LelantosClient['killSandbox']
    readonly pause: LelantosClient['pauseSandbox']
    readonly resume: LelantosClient['resumeSandbox']
    readonly setTimeout: LelantosClient['setSandboxTimeout']
    readonly refresh: LelantosClient['refreshSandbox']
    readonly logs: LelantosClient['getSandboxLogs']
    readonly metrics: LelantosClient['getSandboxMetrics']
  }
  readonly templates: {
    readonly list: LelantosClient['getTemplates']
    readonly get: LelantosClient['getTemplate']
  }
  readonly keys: {
    readonly list: LelantosClient['listKeys']
    readonly create: LelantosClient['createKey']
    readonly delete: LelantosClient['deleteKey']
  }
}
