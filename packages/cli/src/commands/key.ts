import type { Context, Outcome } from '../context.ts'
import { print, printable, printJSON, say, table } from '../output.ts'
import { relative } from '../relative.ts'

export async function createKey({ client, json, signal }: Context, name: string): Outcome {
  const key = await client.createKey(name, { signal })
  if (json) return await printJSON(key)
  say(`made ${key.id} (${name}); the key is shown this once`)
  await print(key.apiKey)
}

export async function listKeys({ client, json, signal }: Context): Outcome {
  const keys = await client.listKeys({ signal })
  if (json) return await printJSON(keys)
  const rows = keys.map((key) => [
    key.id,
    printable(key.name),
    key.mask,
    relative(key.createdAt),
    relative(key.lastUsedAt),
  ])
  await print(table(['ID', 'NAME', 'KEY', 'CREATED', 'LAST USED'], rows))
}

export async function deleteKey({ client, json, signal }: Context, id: string): Outcome {
  await client.deleteKey(id, { signal })
  if (json) return await printJSON({ id, deleted: true })
  say('deleted; it works no more')
  await print(id)
}
